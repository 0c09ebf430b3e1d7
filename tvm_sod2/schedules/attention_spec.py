"""What an attention kernel is made for: its operands, how they lie, and what is done to scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.kernel import i64, ramp
from tvm_sod2.schedules.panels import product


@dataclass(frozen=True)
class Axis:
    """Where along an axis of a tensor an index `i` of the axis `of` of a view is found:
    at i // divisor % modulus + offset; at the offset where it is of none. Modulus 0 is none."""

    of: int | None
    offset: int = 0
    divisor: int = 1
    modulus: int = 0

    def at(self, index: Sequence[Any]) -> Any:
        if self.of is None:
            return i64(self.offset)
        place = index[self.of]
        if self.divisor != 1:
            place = tirx.floordiv(place, i64(self.divisor))
        if self.modulus:
            place = tirx.floormod(place, i64(self.modulus))
        return place + i64(self.offset) if self.offset else place

    def runs_along(self, axis: int) -> bool:
        """Whether neighbours along the view's axis are neighbours here."""
        return self == Axis(axis, self.offset)


@dataclass(frozen=True)
class View:
    """How an operand of logical axes (*batch, row, column) lies in a parameter, axis by axis."""

    buffer: Any
    axes: tuple[Axis, ...]

    def at(self, index: Sequence[Any], width: int = 1) -> Any:
        """The element at a logical index; with a width, the vector along the last axis there."""
        *places, last = [axis.at(index) for axis in self.axes]
        return self.buffer[(*places, ramp(last, width))]

    def swapped(self, a: int, b: int) -> View:
        """The view with two logical axes exchanged."""
        other = {a: b, b: a, None: None}
        return View(self.buffer, tuple(replace(x, of=other.get(x.of, x.of)) for x in self.axes))

    def contiguous(self, axis: int) -> bool:
        """Whether the elements along a logical axis are neighbours."""
        return self.axes[-1].runs_along(axis)


Step = Callable[[Any, Sequence[Any]], Any]
"""From a score and its logical index (*batch, row, key) to what is made of it."""


Blank = Callable[[Any, Any], Any]
"""By a row's largest score and its sum of powers, whether its weights are all zero."""


@dataclass(frozen=True)
class Causal:
    """A query's row sees the keys up to `row + late`; other scores are `hidden` instead."""

    late: Any
    hidden: float


@dataclass(frozen=True)
class Attention:
    """What the kernel computes: softmax over keys of the steps of scale * q @ k^T, times v.

    batch, rows, keys: logical dims, expressions over the dims of the parameters.
    depth: columns of q and k; width: columns of v. Logical axes are (*batch, rows, depth) of q,
    (*batch, keys, depth) of k, (*batch, keys, width) of v, (*batch, rows, width) of the result.
    emptied: by (*batch, row, anything), whether the row's weights are all zero.
    causal: which keys come too late for a row, whatever the steps make of their scores.
    """

    params: tuple[Any, ...]
    batch: tuple[Any, ...]
    rows: Any
    keys: Any
    depth: int
    width: int
    q: View
    k: View
    v: View
    result: View
    scale: float
    steps: tuple[Step, ...]
    emptied: Callable[[Sequence[Any]], Any] | None = None
    causal: Causal | None = None
    blank: Blank | None = None

    def multiplications(self) -> Any:
        """How many multiplications and additions the products take."""
        pairs = self.rows * self.keys
        if self.causal is not None:
            # What the middle row sees.
            seen = tirx.floordiv(self.rows + i64(1), i64(2)) + self.causal.late
            pairs = self.rows * tirx.max(tirx.min(self.keys, seen), i64(0))
        return product([*self.batch, pairs]) * i64(self.depth + self.width)
