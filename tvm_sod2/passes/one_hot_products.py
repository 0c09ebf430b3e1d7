"""A product of rows with a single one by constant weights is a lookup of the weights' rows.

    matmul(astype(equal(x, [0, 1, ..., k - 1])), w)   ->   take(w', where(0 <= x < k, x, k))

w' is w with a row of zeros behind it. So exporters that have no embeddings write one. Only where
all weights are finite: zero times infinity is not zero.
"""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.passes.fold_constants import constant_array
from tvm_sod2.passes.mutate import map_functions


@tvm.transform.module_pass(opt_level=0, name="OneHotProducts")
def one_hot_products(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Apply the rule above to every Relax function."""
    mod = map_functions(mod, lambda func: _Rewriter().visit_expr(func))
    return relax.transform.DeadCodeElimination()(mod)


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> Expr:
        call = super().visit_call_(call)
        if not self._is(call, "relax.matmul"):
            return call
        weights = constant_array(call.args[1])
        if weights is None or weights.ndim != 2 or not np.isfinite(weights).all():
            return call
        cast = self._value(call.args[0])
        found = self._sought(self._value(cast.args[0])) if self._is(cast, "relax.astype") else None
        return call if found is None else self._lookup(*found, weights)

    def _sought(self, equal: Expr) -> tuple[Expr, int] | None:
        """x (..., 1) and the first of the integers in a row that it is compared with."""
        if not self._is(equal, "relax.equal"):
            return None
        for x, other in (equal.args, reversed(equal.args)):
            numbers = constant_array(other)
            if numbers is None or x.ty.shape is None or numbers.dtype.kind not in "iu":
                continue
            count = numbers.size
            if not count or x.ty.ndim < max(numbers.ndim, 2) or numbers.shape[-1:] != (count,):
                continue
            first = int(numbers.flat[0])
            last = x.ty.shape.values[-1]
            if not isinstance(last, tvm.tirx.IntImm) or int(last.value) != 1:
                continue
            if (numbers.reshape(-1).astype("int64") == first + np.arange(count)).all():
                return x, first
        return None

    def _lookup(self, x: Expr, first: int, weights: np.ndarray) -> Expr:
        def emit(value: Expr) -> Expr:
            return self.builder_.emit(value)

        none = relax.const(len(weights), "int64")
        place = emit(R.astype(emit(R.squeeze(x, [x.ty.ndim - 1])), "int64"))
        if first:
            place = emit(R.subtract(place, relax.const(first, "int64")))
        low = emit(R.greater_equal(place, relax.const(0, "int64")))
        inside = emit(R.logical_and(low, emit(R.less(place, none))))
        rows = np.concatenate([weights, np.zeros_like(weights[:1])])
        return R.take(relax.const(rows), emit(R.where(inside, place, none)), 0, mode="clip")

    def _value(self, expr: Expr) -> Expr:
        value = self.lookup_binding(expr) if isinstance(expr, tvm.ir.Var) else None
        return expr if value is None else value

    def _is(self, value: Expr, name: str) -> bool:
        return isinstance(value, relax.Call) and getattr(value.op, "name", "") == name
