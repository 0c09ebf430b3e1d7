"""Sums across the lanes of several vectors at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm_sod2.schedules.kernel import Code, ramp
from tvm_sod2.schedules.transpose import shuffled


def lane_sums(code: Code, vectors: Sequence[Any]) -> Any:
    """The sum of each register's lanes, as a vector with a lane for each; overwrites registers.

    There are at most as many as lanes, a power of two. Two vectors of groups of lanes become one of
    groups half as long, the lower halves plus the upper: for 16 vectors 15 additions, where one by
    one they take 64.
    """
    left = list(vectors)
    width = int(left[0].shape[0])
    group = width
    while group > 1:
        pairs = [left[i : i + 2] for i in range(0, len(left), 2)]
        if len(left) == 1:
            width //= 2
        folded = []
        for pair in pairs:
            values = [register[ramp(0, int(register.shape[0]))] for register in pair]
            halves = _half(values, group, 0) + _half(values, group, group // 2)
            target = pair[0] if len(pair) > 1 else code.register(width, "folded", width)
            code.store(target, halves, ramp(0, width))
            folded.append(target)
        left, group = folded, group // 2
    return left[0][ramp(0, width)]


def _half(values: Sequence[Any], group: int, offset: int) -> Any:
    """Half of each group of lanes of vectors side by side."""
    lanes = sum(int(value.ty.dtype.lanes) for value in values)
    order = [at + offset + i for at in range(0, lanes, group) for i in range(group // 2)]
    return shuffled(values, order)
