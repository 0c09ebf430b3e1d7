"""What random graphs are made of: a row for each way to add an operator or a pattern."""

from __future__ import annotations

from . import (
    control,
    elementwise,
    index,
    linear,
    movement,
    quantized,
    reduce,
    sequences,
    shape,
    window,
)
from .row import Row

ROWS: list[Row] = [
    row
    for family in (
        elementwise,
        reduce,
        linear,
        window,
        movement,
        index,
        shape,
        quantized,
        control,
        sequences,
    )
    for row in family.ROWS
]

__all__ = ["ROWS", "Row"]
