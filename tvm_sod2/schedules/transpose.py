"""Lanes of several vectors chosen, and a square of vectors transposed in registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.kernel import Code, ramp


def transpose(code: Code, rows: Sequence[Any]) -> None:
    """Transpose as many registers of a bank as each has lanes, a power of two, in place.

    Blocks of one element, then of two, four, ... change places with their mirror images (J. O.
    Eklundh, A fast computer method for matrix transposing, 1972).
    """
    lanes = len(rows)
    whole = ramp(0, lanes)
    kept = code.register(lanes, "kept")
    block = 1
    while block < lanes:
        first = [j if not j & block else lanes + j - block for j in range(lanes)]
        second = [lanes + j if j & block else j + block for j in range(lanes)]
        for i in (i for i in range(lanes) if not i & block):
            pair = [rows[i][whole], rows[i + block][whole]]
            code.store(kept, shuffled(pair, first), whole)
            code.store(rows[i + block], shuffled(pair, second), whole)
            code.store(rows[i], kept[whole], whole)
        block *= 2


def shuffled(vectors: Sequence[Any], lanes: Sequence[int]) -> Any:
    """The lanes, by their number among those of all vectors, as one vector."""
    return tirx.Shuffle(list(vectors), [tirx.IntImm("int32", lane) for lane in lanes])
