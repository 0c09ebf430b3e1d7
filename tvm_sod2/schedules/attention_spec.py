"""What an attention kernel is made for: its operands, how they lie, and what is done to scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm_sod2.schedules.kernel import i64, ramp


@dataclass(frozen=True)
class View:
    """How an operand of logical axes (*batch, row, column) lies in a parameter.

    axes: for each axis of the parameter the logical axis, or None for a fixed place, and an offset.
    """

    buffer: Any
    axes: tuple[tuple[int | None, int], ...]

    def at(self, index: Sequence[Any], width: int = 1) -> Any:
        """The element at a logical index; with a width, the vector along the last axis there."""
        *places, last = [
            i64(offset) if axis is None else index[axis] + i64(offset) if offset else index[axis]
            for axis, offset in self.axes
        ]
        return self.buffer[(*places, ramp(last, width))]

    def swapped(self, a: int, b: int) -> View:
        """The view with two logical axes exchanged."""
        other = {a: b, b: a}
        axes = ((axis if axis is None else other.get(axis, axis), at) for axis, at in self.axes)
        return View(self.buffer, tuple(axes))

    def contiguous(self, axis: int) -> bool:
        """Whether the elements along a logical axis are neighbours."""
        return self.axes[-1][0] == axis


Step = Callable[[Any, Sequence[Any]], Any]
"""From a score and its logical index (*batch, row, key) to what is made of it."""


@dataclass(frozen=True)
class Attention:
    """What the kernel computes: softmax over keys of the steps of scale * q @ k^T, times v.

    batch, rows, keys: logical dims, expressions over the dims of the parameters.
    depth: columns of q and k; width: columns of v. Logical axes are (*batch, rows, depth) of q,
    (*batch, keys, depth) of k, (*batch, keys, width) of v, (*batch, rows, width) of the result.
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
