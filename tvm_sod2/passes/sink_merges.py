"""A reshape that joins batch axes moves behind what works on the last two axes, until it is undone.

    matmul(reshape(a, (b * h, s, d)), reshape(c, (b * h, d, t)))
        ->  reshape(matmul(a, c), (b * h, s, t))
    reshape(reshape(x, (b * h, s, t)), (b, h, s, t))
        ->  x
    softmax, permute_dims of the last two axes and scales like matmul

Some exporters write attention so, with heads joined to the batch for products and apart for masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.op_classes.expressions import name_of
from tvm_sod2.passes.inline_leaves import inline_leaves
from tvm_sod2.passes.mutate import map_functions
from tvm_sod2.passes.operand_views import scalar


@tvm.transform.module_pass(opt_level=0, name="SinkMerges")
def sink_merges(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Apply the rules above; what becomes unused is removed."""
    return inline_leaves(map_functions(mod, lambda func: _Sinker().visit_expr(func)))


@relax.expr_functor.mutator
class _Sinker(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> Expr:
        call = super().visit_call_(call)
        name = getattr(call.op, "name", "")
        if name == "relax.reshape":
            whole = self._apart(call.args[0])
            undone = whole is not None and _same(_dims(whole), _dims(call))
            return whole if undone else call
        rule = _BEHIND.get(name)
        made = None if rule is None else rule(call, [self._apart(arg) for arg in call.args])
        return call if made is None else R.reshape(self.builder_.emit(made), call.ty.shape)

    def _apart(self, value: Expr) -> Expr | None:
        """What a value was before batch axes of it were joined, or None."""
        made: Any = self.lookup_binding(value) if isinstance(value, tvm.ir.Var) else None
        if name_of(made) != "relax.reshape":
            return None
        before, after = _dims(made.args[0]), _dims(made)
        joined = len(before) > len(after) == 3
        return made.args[0] if joined and _same(before[-2:], after[-2:]) else None


def _dims(value: Expr) -> list[Any]:
    """The dims of a tensor; none where they are not known, as of a scalar."""
    return [] if value.ty.shape is None else list(value.ty.shape.values)


def _same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return len(a) == len(b) and all(map(tvm.sym.Analyzer().can_prove_equal, a, b))


def _matmul(call: relax.Call, apart: list[Expr | None]) -> Expr | None:
    a, b = apart
    if a is None or b is None or not _same(_dims(a)[:-2], _dims(b)[:-2]):
        return None
    return R.matmul(a, b, out_dtype=call.attrs.out_dtype)


def _softmax(call: relax.Call, apart: list[Expr | None]) -> Expr | None:
    (x,) = apart
    last = int(call.attrs.axis) % call.ty.ndim == call.ty.ndim - 1
    return R.nn.softmax(x, axis=-1) if x is not None and last else None


def _permute(call: relax.Call, apart: list[Expr | None]) -> Expr | None:
    (x,) = apart
    if x is None or call.attrs.axes is None or [int(axis) for axis in call.attrs.axes] != [0, 2, 1]:
        return None
    rank = x.ty.ndim
    return R.permute_dims(x, [*range(rank - 2), rank - 1, rank - 2])


def _scale(call: relax.Call, apart: list[Expr | None]) -> Expr | None:
    x, factor = apart[0], call.args[1]
    if x is None or scalar(factor) is None or factor.ty.ndim:
        return None
    return relax.Call(call.op, [x, factor], call.attrs)


_BEHIND: dict[str, Callable[[relax.Call, list[Expr | None]], Expr | None]] = {
    "relax.matmul": _matmul,
    "relax.nn.softmax": _softmax,
    "relax.permute_dims": _permute,
    "relax.multiply": _scale,
    "relax.divide": _scale,
}
