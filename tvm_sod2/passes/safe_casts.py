"""Casts that TVM's passes can follow.

A cast of a tensor of dim f(n) to dim n makes them replace n by f(n) for good: where f(n) is over n
they do not end. Such a cast is made in two steps, between which only the rank is known:

    y = match_cast(x: (m if n == 1 else n,), (n,))
->  l = match_cast(x, Tensor(ndim=1));  y = match_cast(l, (n,))
"""

from __future__ import annotations

import tvm
from tvm import relax, tirx

from tvm_sod2.op_classes import Fact
from tvm_sod2.op_classes.expressions import symbols_of
from tvm_sod2.passes.mutate import map_functions

__all__ = ["safe_casts"]


@tvm.transform.module_pass(opt_level=0, name="SafeCasts")
def safe_casts(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Make every such cast safe; runs before the passes of TVM's that canonicalise."""
    return map_functions(mod, lambda func: _SafeCasts().visit_expr(func))


@relax.expr_functor.mutator
class _SafeCasts(relax.PyExprMutator):
    def __init__(self) -> None:
        super().__init__()
        self.over: dict[tvm.ir.Var, set[tvm.ir.Var]] = {}

    def visit_match_cast_(self, binding: relax.MatchCast) -> None:
        value = self.builder_.normalize(self.visit_expr(binding.value))
        ready = self._ready(value, binding.ty)
        super().visit_match_cast_(relax.MatchCast(binding.var, ready, binding.ty))

    def _ready(self, value: tvm.ir.Expr, ty: tvm.ir.Type) -> tvm.ir.Expr:
        """What to cast to `ty` in the place of `value`."""
        known = isinstance(value.ty, relax.TensorType) and isinstance(ty, relax.TensorType)
        old, new = (Fact(value.ty).dims, Fact(ty).dims) if known else (None, None)
        if old is None or new is None:
            return value
        for dim, name in zip(old, new, strict=True):
            if not isinstance(name, tirx.Var) or name.same_as(dim):
                continue
            over = self._reached(set(symbols_of(dim)))
            if name in over:
                unknown = relax.TensorType(None, ty.dtype, ndim=len(new))
                return self.builder_.match_cast(value, unknown)
            self.over.setdefault(name, set()).update(over)
        return value

    def _reached(self, symbols: set[tvm.ir.Var]) -> set[tvm.ir.Var]:
        """The symbols, and those that casts made them ones over."""
        work, found = list(symbols), set(symbols)
        while work:
            for symbol in self.over.get(work.pop(), ()):
                if symbol not in found:
                    found.add(symbol)
                    work.append(symbol)
        return found
