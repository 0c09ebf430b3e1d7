"""Convolution regions run channels-last, converted once at their borders.

Source: TVM's ConvertLayout, which carries a layout through elementwise operators, pooling, concat
and resize with symbolic sizes; kernels.md has the measurements that chose dense NHWC.
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import relax

from tvm_sod2.memory.symbols import all_symbols, input_symbols
from tvm_sod2.passes.fold_constants import fold_constants
from tvm_sod2.passes.inline_leaves import inline_leaves

_DESIRED = {
    "relax.nn.conv2d": ["NHWC", "OHWI"],
    "relax.nn.conv2d_transpose": ["NHWC", "IOHW"],
}

_TUPLE = "tvm_sod2.tuple"


def layout_passes() -> list[tvm.transform.Pass]:
    """Convert convolutions to NHWC; the transposes of weights are computed at build."""
    return [
        convert_layout,
        fold_constants,
        inline_leaves,
    ]


@tvm.transform.module_pass(opt_level=0, name="ConvertLayoutOfConvolutions")
def convert_layout(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """TVM's ConvertLayout on the functions that convolve.

    It renews the symbols that a match_cast binds, but not in the types of all who read them: the
    result of an If is lost then. So they pose as dims of a parameter. And it infers types anew,
    which may write a dim in another way, but must not change the type of what leaves a block: casts
    keep it. And it drops tuples that hold more than tensors: they pose as results of calls.
    """
    convolving = {
        gvar: _with_parameter(_WithCasts().visit_expr(func))
        for gvar, func in mod.functions_items()
        if isinstance(func, relax.Function) and _convolves(func)
    }
    converted = relax.transform.ConvertLayout(_DESIRED)(tvm.IRModule(convolving))
    result = tvm.IRModule(dict(mod.functions_items()), attrs=mod.attrs)
    for gvar in convolving:
        func = converted[gvar]
        func = _with_params(func, list(func.params)[1:])
        result.update_func(gvar, _WithoutCasts().visit_expr(func))
    return result


@relax.expr_functor.mutator
class _WithCasts(relax.PyExprMutator):
    """What leaves a dataflow block is bound by a match_cast to the type that it has."""

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        var, inside = binding.var, self.builder_.current_block_is_dataflow()
        if inside and isinstance(binding.value, relax.Tuple) and not _holds_tensors(var.ty):
            fields = [self.visit_expr(field) for field in binding.value.fields]
            call = relax.call_pure_packed(_TUPLE, *fields, ty_args=[var.ty])
            self.builder_.emit_normalized(relax.VarBinding(var, self.builder_.normalize(call)))
            return
        if not inside or isinstance(var, relax.DataflowVar) or not _has_dims(var):
            super().visit_var_binding_(binding)
            return
        value = self.builder_.emit(self.visit_expr(binding.value))
        self.builder_.emit_normalized(relax.MatchCast(var, value, var.ty))


@relax.expr_functor.mutator
class _WithoutCasts(relax.PyExprMutator):
    """No match_cast to the type that a value has, and tuples as tuples."""

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        value = binding.value
        if not isinstance(value, relax.Call) or not _is_tuple(value):
            super().visit_var_binding_(binding)
            return
        fields = [self.visit_expr(field) for field in value.args[1:]]
        whole = self.builder_.normalize(relax.Tuple(fields))
        self.builder_.emit_normalized(relax.VarBinding(binding.var, whole))

    def visit_match_cast_(self, binding: relax.MatchCast) -> None:
        value = self.visit_expr(binding.value)
        if tvm_ffi.structural_equal(value.ty, binding.ty):
            self.builder_.emit_normalized(relax.VarBinding(binding.var, value))
        else:
            super().visit_match_cast_(binding)


def _is_tuple(call: relax.Call) -> bool:
    """Whether a call stands for a tuple."""
    callee = call.args[0] if call.args else None
    return isinstance(callee, relax.ExternFunc) and callee.global_symbol == _TUPLE


def _holds_tensors(ty: tvm.ir.Type) -> bool:
    """Whether it is a tensor, or a tuple of nothing else."""
    if isinstance(ty, relax.TupleType):
        return all(map(_holds_tensors, ty.fields))
    return isinstance(ty, relax.TensorType)


def _has_dims(var: tvm.ir.Var) -> bool:
    return isinstance(var.ty, relax.TensorType) and var.ty.shape is not None


def _with_parameter(func: relax.Function) -> relax.Function:
    """The function with a parameter in front whose dims are the symbols it binds."""
    given = set(input_symbols(func))
    bound = [symbol for symbol in all_symbols(func) if symbol not in given]
    return _with_params(func, [relax.Var("bound", relax.ShapeType(bound)), *func.params])


def _with_params(func: relax.Function, params: list[tvm.ir.Var]) -> relax.Function:
    return relax.Function(params, func.body, func.ret_ty, func.is_pure, func.attrs, func.span)


def _convolves(func: relax.Function) -> bool:
    found = False

    def visit(expr: tvm.ir.Expr) -> None:
        nonlocal found
        found |= isinstance(expr, relax.Call) and getattr(expr.op, "name", "") in _DESIRED

    relax.analysis.post_order_visit(func, visit)
    return found
