"""Outline each fusion group as a private Relax function whose dims are its own.

    y = relu(add(conv2d(x, w), b))   ->   y = fused_conv2d_add_relu(x, w, b)

The dims of main are abstracted: `x: ((h + 1) // 2, w // 4, 64)` enters the group as `(a, b, 64)`.
So kernels are free of main's expressions, and equal groups of different layers are one kernel.
Scalars that are no dim of an operand (a slice's end, a resize's size) become scalar parameters;
between `fuse` and `bind_scalars` a call passes symbols for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import tvm
from tvm import relax, tirx

from tvm_sod2.passes.bind_scalars import named
from tvm_sod2.passes.fusion_plan import SameDims, is_cast, is_view, plan_groups
from tvm_sod2.passes.group_dims import GroupDims

MAX_NAME = 60


@tvm.transform.module_pass(opt_level=0, name="FuseByMappingType")
def fuse(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Group the operators of every Relax function and outline the groups as Primitive functions."""
    mutator = _Fuser(mod)
    for gvar, func in mod.functions_items():
        if isinstance(func, relax.Function):
            mutator.common = _common_constants(func)
            mutator.builder_.update_func(gvar, mutator.visit_expr(func))
    return mutator.builder_.get()


@relax.expr_functor.mutator
class _Fuser(relax.PyExprMutator):
    def __init__(self, mod: tvm.IRModule) -> None:
        super().__init__(mod)
        self.groups: dict[tvm.ir.Var, list[relax.Binding]] = {}
        self.skipped: set[tvm.ir.Var] = set()
        self.same = SameDims([])
        self.scalars = 0
        self.common: set[bytes] = set()

    def visit_dataflow_block_(self, block: relax.DataflowBlock) -> relax.BindingBlock:
        self._plan(block)
        return super().visit_dataflow_block_(block)

    def visit_binding_block_(self, block: relax.BindingBlock) -> relax.BindingBlock:
        self._plan(block)
        return super().visit_binding_block_(block)

    def _named(self, value: tvm.ir.Expr) -> tvm.ir.Var:
        """A plain symbol for a scalar argument: FuseTIR takes no expression there."""
        if isinstance(value, tvm.ir.Var):
            return value
        symbol = tirx.Var(f"scalar_{self.scalars}", "int64")
        self.scalars += 1
        named(self.builder_, symbol, value)
        return symbol

    def _plan(self, block: relax.BindingBlock) -> None:
        self.same = SameDims(block.bindings)
        for group in plan_groups(block):
            members = [block.bindings[i] for i in group.members]
            self.groups[members[-1].var] = members
            self.skipped |= {m.var for m in members[:-1]}

    def visit_match_cast_(self, binding: relax.MatchCast) -> None:
        if binding.var not in self.skipped:
            super().visit_match_cast_(binding)

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        if binding.var in self.skipped:
            return
        members = self.groups.get(binding.var)
        if members is None:
            super().visit_var_binding_(binding)
            return
        if len(members) == 1 and is_view(binding.value):
            super().visit_var_binding_(relax.VarBinding(binding.var, _view(binding)))
            return
        value = self._outlined(members)
        if value is not None:
            self._emit(binding.var, value)
            return
        for member in members:  # Inference cannot follow the whole: one kernel per operator.
            if is_cast(member):
                super().visit_match_cast_(member)
            else:
                alone = self._outlined([member])
                assert alone is not None, "an operator alone keeps the dims it has in main"
                self._emit(member.var, alone)

    def _emit(self, var: tvm.ir.Var, value: relax.Call) -> None:
        """Bind a call of a group to a result of the type that the operators had.

        From the group's signature inference cannot see a dim that comes from a scalar parameter,
        and it gives a dim that a cast renamed inside its old name.
        """
        call = relax.Call(value.op, [self.visit_expr(argument) for argument in value.args])
        relax.expr._update_type(call, var.ty)
        super().visit_var_binding_(relax.VarBinding(var, call))

    def _outlined(self, members: list[relax.Binding]) -> relax.Call | None:
        """A call of the group's function, or None where its types would lose their dims."""
        for abstract in (True, False):
            body = _GroupFunction(members, GroupDims(abstract, self.same), self._named, self.common)
            if body.function is not None:
                gvar = self.builder_.add_func(body.function, body.name)
                return relax.Call(gvar, body.arguments)
        return None


def _view(binding: relax.VarBinding) -> relax.Call:
    """Any operator that only gives a new shape, as a reshape."""
    return relax.op.reshape(binding.value.args[0], relax.ShapeExpr(binding.var.ty.shape.values))


class _GroupFunction:
    """Builds the private function of one group.

    function is None where inference on the abstracted dims cannot follow the group: two dims of
    main that are provably equal there have become two symbols.
    """

    def __init__(
        self,
        members: list[relax.Binding],
        dims: GroupDims,
        named: Callable[[tvm.ir.Expr], tvm.ir.Var],
        common: set[bytes],
    ) -> None:
        operators = [m.value.op.name.rsplit(".", 1)[-1] for m in members if not is_cast(m)]
        self.name = "_".join(["fused" if len(members) > 1 else "op", *operators])[:MAX_NAME]
        self.arguments: list[tvm.ir.Expr] = []
        self.params: list[tvm.ir.Var] = []
        self.dims = dims
        self.named = named
        self.common = common
        self._inner: dict[tvm.ir.Var, tvm.ir.Var] = {}
        self._infer = relax.BlockBuilder()
        self.function = self._build(members)

    def _build(self, members: list[relax.Binding]) -> relax.Function | None:
        bindings = []
        for member in members:
            if is_cast(member):
                self._inner[member.var] = self._inside(member.value)
                self.dims.learn(member.ty, self._inner[member.var].ty)
                continue
            args = [self._argument(member.value, argument) for argument in member.value.args]
            call = relax.Call(member.value.op, args, member.value.attrs, member.value.ty_args)
            call = self._infer.normalize(call)
            if not self.dims.learn(member.var.ty, call.ty):
                return None
            var = relax.DataflowVar(member.var.name, call.ty)
            if member is members[-1]:
                var = relax.Var(member.var.name, call.ty)
            self._inner[member.var] = var
            bindings.append(relax.VarBinding(var, call))
        scalars = self.dims.scalars(self.params)
        if scalars:
            self.params.append(relax.Var("scalars", relax.ShapeType(list(scalars))))
            self.arguments.append(relax.ShapeExpr([self.named(v) for v in scalars.values()]))
        output = bindings[-1].var
        body = relax.SeqExpr([relax.DataflowBlock(bindings)], output)
        body = self._infer.normalize(body)
        return relax.Function(self.params, body, output.ty).with_attr("Primitive", True)

    def _argument(self, call: relax.Call, expr: tvm.ir.Expr) -> tvm.ir.Expr:
        immediate = _is_scalar(expr) and (call.op.name in _DEFINING or _bytes(expr) in self.common)
        # Legalisation of an operator on nothing but constants has no place for them.
        immediate &= not all(isinstance(other, tvm.ir.GenericConst) for other in call.args)
        if immediate and call.op.name in _TAKES_IMMEDIATES:
            return expr
        return self._inside(expr)

    def _inside(self, expr: tvm.ir.Expr) -> tvm.ir.Expr:
        """The expression in the group's own terms; what comes from outside becomes a parameter."""
        if isinstance(expr, relax.Tuple):
            fields = relax.Tuple([self._inside(field) for field in expr.fields])
            return self._infer.normalize(fields)
        if isinstance(expr, relax.ShapeExpr):
            return relax.ShapeExpr([self.dims.inside(value) for value in expr.values])
        if isinstance(expr.ty, tvm.ir.PrimType):
            return self.dims.inside(expr)
        if not isinstance(expr, tvm.ir.Var | tvm.ir.GenericConst):
            return expr
        if isinstance(expr, tvm.ir.Var) and expr in self._inner:
            return self._inner[expr]
        name = expr.name if isinstance(expr, tvm.ir.Var) else f"const_{len(self.params)}"
        param = relax.Var(name, self.dims.type_inside(expr.ty))
        self.params.append(param)
        self.arguments.append(expr)
        if isinstance(expr, tvm.ir.Var):
            self._inner[expr] = param
        return param


MIN_SHARED = 3
"""A scalar constant used as often as this is an immediate; a rarer one is a layer's own, and as a
parameter it leaves the kernel free to serve the other layers."""


# Their scalars are what the function is, 6 of relu6, a cube, one in seven, and not a layer's own.
_DEFINING = frozenset(
    f"relax.{name}" for name in ("maximum", "minimum", "power", "mod", "floor_mod", "floor_divide")
)

# TVM's legalisation writes a scalar constant of these into the kernel; elsewhere FuseTIR would
# find a constant inside a group, which it cannot take.
_TAKES_IMMEDIATES = frozenset(
    f"relax.{name}"
    for name in (
        "add", "subtract", "multiply", "divide", "floor_divide", "mod", "floor_mod", "power",
        "maximum", "minimum", "equal", "not_equal", "less", "less_equal", "greater",
        "greater_equal", "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or",
        "bitwise_xor", "left_shift", "right_shift",
    )
)  # fmt: skip


def _common_constants(func: relax.Function) -> set[bytes]:
    counts: Counter[bytes] = Counter()

    def visit(expr: tvm.ir.Expr) -> None:
        if isinstance(expr, relax.Call):
            counts.update(_bytes(a) for a in expr.args if _is_scalar(a))

    relax.analysis.post_order_visit(func, visit)
    return {value for value, count in counts.items() if count >= MIN_SHARED}


def _is_scalar(expr: tvm.ir.Expr) -> bool:
    return (
        isinstance(expr, tvm.ir.GenericConst)
        and isinstance(expr.ty, relax.TensorType)
        and expr.ty.ndim == 0
    )


def _bytes(expr: tvm.ir.GenericConst) -> bytes:
    return expr.value.numpy().tobytes()
