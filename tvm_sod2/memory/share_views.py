"""One tensor object for all that lie at one place of an arena and have one shape, in turn.

    a = R.memory.alloc_tensor(arena, 0, R.shape([n, 64]), ...)
    cls.kernel(x, a)
    ...
    b = R.memory.alloc_tensor(arena, 0, R.shape([n, 64]), ...)   ->   gone, a stands for it
    cls.kernel(y, b)                                                  cls.kernel(y, a)

Making the object and its shape costs about as much as a small kernel. The plan sees to it that
what they hold is never alive together; after this the objects no longer tell, so it runs last.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm_ffi import StructuralKey

from tvm_sod2.op_classes.expressions import name_of
from tvm_sod2.passes.mutate import map_functions

_MAKERS = frozenset({"relax.memory.alloc_tensor", "relax.memory.ensure_zero_offset"})


@tvm.transform.module_pass(opt_level=0, name="ShareViews")
def share_views(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Rewrite every Relax function of a module in the form that `PlanArena` leaves."""
    return map_functions(mod, lambda func: _Sharer().visit_expr(func))


@relax.expr_functor.mutator
class _Sharer(relax.PyExprMutator):
    def __init__(self) -> None:
        super().__init__()
        self._made: dict[StructuralKey, relax.Var] = {}

    def visit_seq_expr_(self, op: relax.SeqExpr) -> relax.Expr:
        before = self._made.copy()  # What an arm makes is not there after it.
        result = super().visit_seq_expr_(op)
        self._made = before
        return result

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        value: Any = self.visit_expr(binding.value)
        if name_of(value) not in _MAKERS:
            super().visit_var_binding_(binding)
            return
        key = StructuralKey(value)
        if key not in self._made:
            super().visit_var_binding_(binding)
            self._made[key] = self.visit_expr(binding.var)
        self.set_var_remap(binding.var, self._made[key])
