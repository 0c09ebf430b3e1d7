"""Argmax and argmin as two plain reductions: the extreme, then the first place where it stands.

TVM reduces pairs of (index, value) whose updates depend on each other, which no vector code can do.
Before: ``i, v = (i, v) if v > x[k] or (v == x[k] and i < k) else (k, x[k])``.
After: ``v = max(v, x[k])``, then ``i = min(i, k if x[k] == v else none)``, in int32. As in NumPy,
NaN is the extreme, whatever `max` made of it: its places are `_NAN` before the others, or behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr, TensorLoad
from tvm.tirx import BufferLoad, BufferStore, IntImm, Var

from tvm_sod2.schedules.rules.reducers import Combiner

__all__ = ["Extreme", "read_extreme"]

_NONE = 2**31 - 1
_NAN = 2**30

_COMPARISONS: dict[type, Combiner] = {tirx.GT: Combiner.MAX, tirx.LT: Combiner.MIN}


@dataclass(frozen=True)
class Extreme:
    """The parts of an argmax or argmin: which extreme of which term, and where ties are decided."""

    combiner: Combiner
    term: Expr
    index: Expr
    last: bool

    def place(self, values: Var, indices: list[Expr]) -> tuple[Combiner, Expr, Expr]:
        """The second reduction (combiner, term, start), given the buffer of extremes."""
        none = IntImm("int32", -1 if self.last else _NONE)
        found = self.term.equal(BufferLoad(values, indices))
        index = tirx.Cast("int32", self.index)
        term = tirx.Select(found, index, none)
        if "float" in str(self.term.ty.dtype):
            before = IntImm("int32", _NAN if self.last else -_NAN)
            term = tirx.Select(tirx.isnan(self.term), index + before, term)
        return (Combiner.MAX if self.last else Combiner.MIN), term, none

    def index_of(self, place: Expr, dtype: str, extent: Expr) -> Expr:
        """The index stored: within the axis also where it has no values at all, then -1."""
        if "float" in str(self.term.ty.dtype):
            moved = place >= _NAN if self.last else place < 0
            place = tirx.Select(moved, place + (-_NAN if self.last else _NAN), place)
        return tirx.Min(tirx.Cast(dtype, place), tirx.Cast(dtype, extent) - tirx.const(1, dtype))


def read_extreme(index: BufferStore, value: BufferStore) -> Extreme | None:
    """Recognise the two stores of TVM's argmax and argmin; None for any other pair."""
    chosen, kept = index.value, value.value
    if not isinstance(chosen, tirx.Select) or not isinstance(kept, tirx.Select):
        return None
    combiner = _COMPARISONS.get(type(kept.condition))
    term = kept.false_value
    if (
        combiner is None
        or not _loads(kept.true_value, value)
        or not _loads(chosen.true_value, index)
        or not _is(kept.condition, kept.true_value, term)
        or not isinstance(chosen.condition, tirx.Or)
    ):
        return None
    strictly, tie = chosen.condition.a, chosen.condition.b
    if not tvm_ffi.structural_equal(strictly, kept.condition) or not isinstance(tie, tirx.And):
        return None
    if not isinstance(tie.a, tirx.EQ) or not _is(tie.a, kept.true_value, term):
        return None
    if not isinstance(tie.b, (tirx.LT, tirx.GT)):
        return None
    if not _is(tie.b, chosen.true_value, chosen.false_value):
        return None
    return Extreme(combiner, term, chosen.false_value, isinstance(tie.b, tirx.GT))


def _loads(expr: Expr, store: BufferStore) -> bool:
    return (
        isinstance(expr, TensorLoad)
        and expr.source.same_as(store.buffer)
        and tvm_ffi.structural_equal(list(expr.indices), list(store.indices))
    )


def _is(comparison: Expr, left: Expr, right: Expr) -> bool:
    return tvm_ffi.structural_equal(comparison.a, left) and tvm_ffi.structural_equal(
        comparison.b, right
    )
