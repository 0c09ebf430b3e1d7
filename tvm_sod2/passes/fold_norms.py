"""Recognise layer normalisation that an exporter spelled out.

    m = mean(x); d = x - m; v = mean(d * d); y = d / sqrt(v + eps) * gamma + beta
        ->  layer_norm(x, gamma, beta, eps)

over the last axis. One kernel then reads the row once instead of nine times.

Not by TVM's ``rewrite_call``: it canonicalises the function first, which drops casts that state
dims, and overflows the stack where two casts state each other's symbols.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import relax

from tvm_sod2.passes.fold_constants import constant_array
from tvm_sod2.passes.mutate import map_functions

Operands = Sequence[tvm.ir.Expr]


@tvm.transform.module_pass(opt_level=0, name="FoldNorms")
def fold_norms(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Replace each spelled-out layer normalisation over the last axis by the operator."""
    mod = map_functions(mod, lambda func: _Folder().visit_expr(func))
    return relax.transform.DeadCodeElimination()(mod)


@relax.expr_functor.mutator
class _Folder(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> tvm.ir.Expr:
        call = super().visit_call_(call)
        shifted = self._operands(call, "add")
        scaled = self._operands(shifted[0], "multiply") if shifted else ()
        found = self._normalised(scaled[0]) if scaled else None
        if found is None:
            return call
        x, epsilon = found
        gamma, beta = scaled[1], shifted[1]
        if not _is_row(gamma, x) or not _is_row(beta, x):
            return call
        return relax.op.nn.layer_norm(x, gamma, beta, axes=[-1], epsilon=epsilon)

    def _normalised(self, expr: tvm.ir.Expr) -> tuple[tvm.ir.Expr, float] | None:
        """x and epsilon of (x - mean(x)) / sqrt(mean((x - mean(x)) ** 2) + epsilon)."""
        quotient = self._operands(expr, "divide")
        difference = self._operands(quotient[0], "subtract") if quotient else ()
        deviation = self._operands(quotient[1], "sqrt") if quotient else ()
        total = self._operands(deviation[0], "add") if deviation else ()
        if not difference or not total:
            return None
        x, centred, epsilon = difference[0], quotient[0], constant_array(total[1])
        if epsilon is None or epsilon.size != 1:
            return None
        square = self._mean_of(total[0])
        if square is None or not x.same_as(self._mean_of(difference[1])):
            return None
        factors = self._operands(square, "multiply")
        if not factors or not all(factor.same_as(centred) for factor in factors):
            return None
        return x, float(epsilon.flat[0])

    def _mean_of(self, expr: tvm.ir.Expr) -> tvm.ir.Expr | None:
        """The tensor whose mean over the last axis this is."""
        operands = self._operands(expr, "mean")
        if not operands:
            return None
        attrs, rank = self.lookup_binding(expr).attrs, operands[0].ty.ndim
        over_last = attrs.axis is not None and [a % rank for a in attrs.axis] == [rank - 1]
        return operands[0] if over_last and attrs.keepdims else None

    def _operands(self, expr: tvm.ir.Expr, name: str) -> Operands:
        """What the operator of that name takes, if it computed the expression; else nothing."""
        value = self.lookup_binding(expr) if isinstance(expr, tvm.ir.Var) else expr
        if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op):
            return ()
        return list(value.args) if value.op.name == f"relax.{name}" else ()


def _is_row(expr: tvm.ir.Expr, like: tvm.ir.Expr) -> bool:
    """Whether the expression is a vector along the last axis of `like`."""
    ty = expr.ty
    if not isinstance(ty, relax.TensorType) or ty.ndim != 1 or ty.shape is None:
        return False
    if like.ty.shape is None:
        return False
    return bool(tvm.sym.Analyzer().can_prove_equal(ty.shape.values[0], like.ty.shape.values[-1]))
