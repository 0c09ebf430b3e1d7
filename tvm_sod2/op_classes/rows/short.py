"""Short names for the columns of a row, and rows that many operators share."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import tvm

from tvm_sod2.op_classes.row import Agreements, Dynamism, Mapping, Row, ValueTransfer

ISDO, ISDOS, ISVDOS, EDO = Dynamism.ISDO, Dynamism.ISDOS, Dynamism.ISVDOS, Dynamism.EDO
ONE, EXPAND, MANY = Mapping.ONE_TO_ONE, Mapping.ONE_TO_MANY, Mapping.MANY_TO_MANY
REORGANIZE, SHUFFLE = Mapping.REORGANIZE, Mapping.SHUFFLE


def rows(
    mapping: Mapping,
    *names: str,
    value: ValueTransfer | None = None,
    agree: Agreements | None = None,
    filled: Callable[[tvm.ir.Call], list[int]] | None = None,
    reads: Callable[[tvm.ir.Call], float] | None = None,
) -> dict[str, Row]:
    """ISDOS operators of one mapping type whose shape Relax infers."""
    row = Row(ISDOS, mapping, value=value, agree=agree, filled=filled, reads=reads)
    return {f"relax.{name}": row for name in names}


def times(number: int) -> Callable[[tvm.ir.Call], float]:
    """For `reads`: always the same number."""
    return lambda _: number


def overlap(call: tvm.ir.Call) -> float:
    """For `reads` of a pool: how many windows an element is in."""
    return prod(map(int, call.attrs.pool_size)) / prod(map(int, call.attrs.strides))
