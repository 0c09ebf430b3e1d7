"""Put back the expressions that `fuse` named: FuseTIR, which runs between, takes only symbols.

    v = call_pure_packed("sod2.scalar", R.shape([n - 1]))
    _ = match_cast(v, R.Shape([s]))
    y = call_tir(slice, (x, s), ...)                 ->   y = call_tir(slice, (x, n - 1), ...)

The names are bound in the function, since passes on the way renew the symbols in the expressions;
and by a call, since they would put back what they see through.
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import relax

from tvm_sod2.passes.mutate import map_functions

PROMISE = "sod2.scalar"
"""The function that is called between the two passes; it is nowhere defined."""


def named(builder: relax.BlockBuilder, symbol: tvm.ir.Var, value: tvm.ir.Expr) -> None:
    """Emit bindings that name the value until `bind_scalars`."""
    ty = relax.ShapeType(ndim=1)
    shape = relax.op.call_pure_packed(PROMISE, relax.ShapeExpr([value]), ty_args=ty)
    builder.match_cast(builder.emit(shape), relax.ShapeType([symbol]))


@tvm.transform.module_pass(opt_level=0, name="BindScalars")
def bind_scalars(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Replace every symbol that was named by its value."""
    return map_functions(mod, _with_scalars)


def _with_scalars(func: relax.Function) -> relax.Function:
    finder = _Finder()
    without = finder.visit_expr(func)
    if not finder.values:
        return func
    return tvm_ffi.structural_map(without, (tvm.ir.Var, lambda v: finder.values.get(v, v)))


@relax.expr_functor.mutator
class _Finder(relax.PyExprMutator):
    """Removes the bindings that name values.

    values: by symbol.
    """

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[tvm.ir.Var, tvm.ir.Expr] = {}
        self.promised: dict[tvm.ir.Var, tvm.ir.Expr] = {}

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        value = _promised(binding.value)
        if value is None:
            super().visit_var_binding_(binding)
        else:
            self.promised[binding.var] = value

    def visit_match_cast_(self, binding: relax.MatchCast) -> None:
        if binding.value in self.promised:
            self.values[binding.ty.values[0]] = self.promised[binding.value]
        else:
            super().visit_match_cast_(binding)


def _promised(call: tvm.ir.Expr) -> tvm.ir.Expr | None:
    """The value that a call names, None for any other call."""
    if not isinstance(call, relax.Call) or getattr(call.op, "name", "") != "relax.call_pure_packed":
        return None
    function = call.args[0]
    if not isinstance(function, relax.ExternFunc) or str(function.global_symbol) != PROMISE:
        return None
    return call.args[1].values[0]
