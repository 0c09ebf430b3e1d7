"""What is added to rounded numbers, a quantised result's zero point, keeps the type it came from.

    add(round(x), 128.0)  ->  add(round(x), astype(128: int16, float32))

From the widening cast a kernel knows that the sum is whole, whatever number its layer adds; see
schedules/requantise.py.
"""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax
from tvm.ir import Expr

from tvm_sod2.passes.fold_constants import constant_array
from tvm_sod2.passes.mutate import map_functions

_ADD, _ROUND = (tvm.ir.Op.get(f"relax.{name}") for name in ("add", "round"))


@tvm.transform.module_pass(opt_level=0, name="WholeOffsets")
def whole_offsets(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Apply the rule above to every constant of whole numbers that 16 bits hold."""
    return map_functions(mod, lambda func: _Rewriter().visit_expr(func))


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> Expr:
        call = super().visit_call_(call)
        if call.op != _ADD:
            return call
        left, right = call.args
        if not self._is_rounded(left) or (narrow := _whole(constant_array(right))) is None:
            return call
        wide = self.builder_.emit(relax.op.astype(relax.const(narrow, "int16"), "float32"))
        return relax.op.add(left, wide)

    def _is_rounded(self, expr: Expr) -> bool:
        value = self.lookup_binding(expr) if isinstance(expr, tvm.ir.Var) else None
        return isinstance(value, relax.Call) and value.op == _ROUND


def _whole(array: np.ndarray | None) -> np.ndarray | None:
    """The array in 16 bits, None where these do not hold it."""
    if array is None or array.dtype != np.float32 or not np.isfinite(array).all():
        return None
    limits = np.iinfo(np.int16)
    narrow = array.clip(limits.min, limits.max).astype(np.int16)
    return narrow if np.array_equal(narrow, array) else None
