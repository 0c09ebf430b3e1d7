"""Tensors that become shapes, lowered so that a match_cast behind them keeps its own symbols.

    s = R.tensor_to_shape(t)              ->  s = R.call_pure_packed("vm.builtin...", t)
    y = R.match_cast(s, R.Shape([n, m]))      y = R.match_cast(s, R.Shape([n, m]))

TVM's `DecomposeOps` gives the shape symbols of its own first, for which the canonicalisation within
`FuseTIR` then replaces the others, but not in each cast that states them: run this before.
"""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from tvm_sod2.passes.mutate import map_functions

__all__ = ["lower_shape_values"]

_FUNCTION = "vm.builtin.tensor_to_shape"


@tvm.transform.module_pass(opt_level=0, name="LowerShapeValues")
def lower_shape_values(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Replace every `R.tensor_to_shape` that nothing but a match_cast reads."""
    return map_functions(mod, lambda func: _Lowering(_only_matched(func)).visit_expr(func))


def _only_matched(func: relax.Function) -> set[tvm.ir.Var]:
    """Variables of shapes that are read by match_casts and by nothing else."""
    matched: set[tvm.ir.Var] = set()

    def note(expr: tvm.ir.Expr) -> None:
        if isinstance(expr, relax.SeqExpr):
            bindings = (binding for block in expr.blocks for binding in block.bindings)
            casts = (b.value for b in bindings if isinstance(b, relax.MatchCast))
            matched.update(value for value in casts if isinstance(value, tvm.ir.Var))

    relax.analysis.post_order_visit(func, note)
    others: set[tvm.ir.Var] = set()

    def read(expr: tvm.ir.Expr) -> None:
        operands = list(expr.args) if isinstance(expr, relax.Call) else []
        operands += list(expr.fields) if isinstance(expr, relax.Tuple) else []
        operands += [expr.body] if isinstance(expr, relax.SeqExpr) else []
        others.update(operand for operand in operands if isinstance(operand, tvm.ir.Var))

    relax.analysis.post_order_visit(func, read)
    return matched - others


@mutator
class _Lowering(PyExprMutator):
    def __init__(self, matched: set[tvm.ir.Var]) -> None:
        super().__init__()
        self.matched = matched

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        call = binding.value
        if (
            binding.var in self.matched
            and isinstance(call, relax.Call)
            and isinstance(call.op, tvm.ir.Op)
            and call.op.name == "relax.tensor_to_shape"
        ):
            operands = [self.visit_expr(argument) for argument in call.args]
            ty = relax.ShapeType(ndim=binding.var.ty.ndim)
            call = relax.op.call_pure_packed(_FUNCTION, *operands, ty_args=[ty])
            binding = relax.VarBinding(binding.var, call)
        super().visit_var_binding_(binding)
