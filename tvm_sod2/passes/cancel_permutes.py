"""Remove transposes that undo each other, and those between which nothing depends on the order.

    permute_dims(permute_dims(x, p), q)              ->  permute_dims(x, p o q), x where identity
    permute_dims(x, p), which moves axes of 1 alone  ->  reshape(x, ...)
    y = reshape(permute_dims(x, p), s)               ->  z = reshape(x, t)
    permute_dims(sum(multiply(y, y), 1), q)              sum(multiply(z, z), 2)

Layout conversion leaves such pairs at the borders of its regions, and a spectrum whose parts are
squared and added has one. From a transpose back, through reshapes, elementwise operators, pools
and reductions of one axis, which all can be computed in another order of axes, to what undoes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import tvm
import tvm_ffi
from tvm import relax
from tvm.relax import Expr

from tvm_sod2.op_classes import is_elementwise
from tvm_sod2.passes.inline_leaves import inline_leaves
from tvm_sod2.passes.mutate import map_functions
from tvm_sod2.passes.permutes import order_of
from tvm_sod2.passes.reshaped_axes import dims_of, is_one, order_before

_REDUCTIONS: dict[str, Callable[..., Expr]] = {
    "relax.max": relax.op.max,
    "relax.mean": relax.op.mean,
    "relax.min": relax.op.min,
    "relax.prod": relax.op.prod,
    "relax.sum": relax.op.sum,
}

_POOLS: dict[str, Callable[..., Expr]] = {
    "relax.nn.avg_pool2d": relax.op.nn.avg_pool2d,
    "relax.nn.max_pool2d": relax.op.nn.max_pool2d,
}

_LAYOUTS = ("NCHW", "NHWC")

_RESHAPES = ("relax.reshape", "relax.squeeze", "relax.flatten", "relax.expand_dims")


@tvm.transform.module_pass(opt_level=0, name="CancelPermutes")
def cancel_permutes(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Apply the rules above; what becomes unused is removed."""
    mod = map_functions(mod, lambda func: _Canceller(func).visit_expr(func))
    return inline_leaves(mod)


@relax.expr_functor.mutator
class _Canceller(relax.PyExprMutator):
    def __init__(self, func: relax.Function) -> None:
        super().__init__()
        self.made: dict[tvm.ir.Var, Expr] = {}
        self.uses: Counter[tvm.ir.Var] = Counter()

        def count(expr: Expr) -> None:
            if isinstance(expr, relax.SeqExpr):
                values = [b.value for block in expr.blocks for b in block.bindings]
                self.uses.update(var for v in values for var in relax.analysis.free_vars(v))

        relax.analysis.post_order_visit(func, count)

    def visit_dataflow_block_(self, block: relax.DataflowBlock) -> relax.BindingBlock:
        made = self.made
        self.made = _made(block)  # Nobody outside sees the block's own variables.
        result = super().visit_dataflow_block_(block)
        self.made = made
        return result

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        value = self._shorter(binding.value)
        if value.same_as(binding.value):
            super().visit_var_binding_(binding)
            return
        emit = self.builder_.emit
        if not isinstance(binding.var, relax.DataflowVar):
            emit = self.builder_.emit_output
        self.set_var_remap(binding.var, emit(self._ready(value, {}), binding.var.name))

    def _ready(self, value: Expr, done: dict[Expr, Expr]) -> Expr:
        """The value with its operands bound, each once."""
        if not isinstance(value, relax.Call):
            return self.visit_expr(value)
        args: list[Expr] = []
        for arg in value.args:
            if isinstance(arg, relax.Call) and arg not in done:
                done[arg] = self.builder_.emit(self._ready(arg, done))
            args.append(done[arg] if arg in done else self._ready(arg, done))
        return relax.Call(value.op, args, value.attrs, value.ty_args)

    def _shorter(self, value: Expr) -> Expr:
        order = order_of(value)
        if order is None:
            return value
        source = value.args[0]
        found = self._in_order(source, order)
        if found is not None:
            return found
        inner = self.made.get(source) if isinstance(source, tvm.ir.Var) else None
        inner_order = order_of(inner)
        if inner is None or inner_order is None:
            return value
        return relax.op.permute_dims(inner.args[0], [inner_order[axis] for axis in order])

    def _in_order(self, value: Expr, order: list[int]) -> Expr | None:
        """The value with its axes in this order, where that moves no data; or None."""
        if value.ty.shape is None:
            return None
        if order == sorted(order):
            return value
        dims = dims_of(value)
        if 0 in dims:
            return None  # Relax's reshape would take it for "copy this dim".
        moved = [axis for axis in order if not is_one(dims[axis])]
        if moved == sorted(moved):
            return _reshaped(value, [value.ty.shape.values[axis] for axis in order])
        call = self.made.get(value) if isinstance(value, tvm.ir.Var) else None
        if not isinstance(call, relax.Call) or not isinstance(call.op, tvm.ir.Op):
            return None
        inner = order_of(call)
        if inner is not None:
            return self._in_order(call.args[0], [inner[axis] for axis in order])
        if call.op.name in _RESHAPES:
            return self._reshape(value, call, order)
        if self.uses[value] != 1 or not isinstance(value, relax.DataflowVar):
            return None  # It would be computed twice.
        if call.op.name in _REDUCTIONS:
            return self._reduction(call, order)
        if call.op.name in _POOLS:
            return self._pool(call, order)
        return self._elementwise(value, call, order) if is_elementwise(call.op.name) else None

    def _reshape(self, value: Expr, call: relax.Call, order: list[int]) -> Expr | None:
        source = call.args[0]
        if source.ty.shape is None:
            return None
        before = order_before(dims_of(source), dims_of(value), order)
        found = None if before is None else self._in_order(source, before)
        if found is None:
            return None
        return _reshaped(found, [value.ty.shape.values[axis] for axis in order])

    def _elementwise(self, value: Expr, call: relax.Call, order: list[int]) -> Expr | None:
        operands: dict[Expr, Expr] = {}
        for arg in call.args:
            if not isinstance(arg.ty, relax.TensorType) or arg.ty.ndim == 0:
                operands[arg] = arg
            if arg in operands:
                continue
            alike = tvm_ffi.structural_equal(arg.ty.shape, value.ty.shape)
            found = self._in_order(arg, order) if alike else None
            if found is None:
                return None
            operands[arg] = found
        args = [operands[arg] for arg in call.args]
        return relax.Call(call.op, args, call.attrs, call.ty_args)

    def _reduction(self, call: relax.Call, order: list[int]) -> Expr | None:
        axes = call.attrs.axis
        if axes is None or len(axes) != 1 or call.attrs.keepdims:
            return None
        source = call.args[0]
        reduced = int(axes[0]) % source.ty.ndim
        kept = [axis for axis in range(source.ty.ndim) if axis != reduced]
        rest = [kept[axis] for axis in order]
        for place in range(len(rest) + 1):
            found = self._in_order(source, [*rest[:place], reduced, *rest[place:]])
            if found is not None:
                return _REDUCTIONS[call.op.name](found, axis=[place], keepdims=False)
        return None

    def _pool(self, call: relax.Call, order: list[int]) -> Expr | None:
        attrs = call.attrs
        layout = "".join(str(attrs.layout)[axis] for axis in order)
        if str(attrs.layout) != str(attrs.out_layout) or layout not in _LAYOUTS:
            return None
        found = self._in_order(call.args[0], order)
        if found is None:
            return None
        return _POOLS[call.op.name](
            found,
            attrs.pool_size,
            attrs.strides,
            attrs.padding,
            attrs.dilation,
            attrs.ceil_mode,
            attrs.count_include_pad,
            layout,
        )


def _made(block: relax.BindingBlock) -> dict[tvm.ir.Var, Expr]:
    return {b.var: b.value for b in block.bindings if isinstance(b, relax.VarBinding)}


def _reshaped(value: Expr, dims: list[Expr]) -> Expr:
    if isinstance(value, relax.Call) and value.op.name == "relax.reshape":
        value = value.args[0]
    return relax.op.reshape(value, relax.ShapeExpr(dims))
