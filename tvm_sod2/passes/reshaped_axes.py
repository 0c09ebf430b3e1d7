"""Which axes before a reshape the axes behind it are made of."""

from __future__ import annotations

import tvm_ffi
from tvm.relax import Expr

from tvm_sod2.op_classes import Arithmetic
from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import entries

__all__ = ["dims_of", "is_one", "order_before"]

Block = tuple[list[int], list[int]]
"""Consecutive axes before and behind whose products are equal; one of the two lists has one."""


def dims_of(expr: Expr) -> list[Entry]:
    """The dims of a tensor of known ones."""
    return list(entries(list(expr.ty.shape.values)))


def is_one(dim: Entry) -> bool:
    """Whether an axis holds nothing to move."""
    return isinstance(dim, int) and dim == 1


def order_before(before: list[Entry], after: list[Entry], order: list[int]) -> list[int] | None:
    """The order of axes before a reshape that gives this order behind it.

    permute_dims(reshape(x, after), order) is then reshape(permute_dims(x, the result), ...). None
    where the order parts what the reshape merged or split, or nothing proves that it does not.
    """
    blocks = _blocks(before, after)
    if blocks is None:
        return None
    left = [axis for axis in order if not is_one(after[axis])]
    found: list[int] = []
    while left:
        olds, news = blocks.get(left[0], ([], []))
        if not news or left[: len(news)] != news:
            return None
        found += olds
        left = left[len(news) :]
    return found + [axis for axis, dim in enumerate(before) if is_one(dim)]


def _blocks(before: list[Entry], after: list[Entry]) -> dict[int, Block] | None:
    """The blocks that a reshape consists of, by their first axes behind it; without axes of 1."""
    arithmetic = Arithmetic()
    olds = [axis for axis, dim in enumerate(before) if not is_one(dim)]
    news = [axis for axis, dim in enumerate(after) if not is_one(dim)]
    blocks: dict[int, Block] = {}
    while olds and news:
        merged = _leading(arithmetic, [before[axis] for axis in olds], after[news[0]])
        split = _leading(arithmetic, [after[axis] for axis in news], before[olds[0]])
        if not merged and not split:
            return None
        old, new = (merged, 1) if merged else (1, split)
        blocks[news[0]] = olds[:old], news[:new]
        olds, news = olds[old:], news[new:]
    return None if olds or news else blocks


def _leading(arithmetic: Arithmetic, dims: list[Entry], wanted: Entry) -> int:
    """How many leading dims have the wanted product; 0 where none has."""
    product: Entry = 1
    for count, dim in enumerate(dims, 1):
        product = arithmetic.multiply(product, dim)
        if _equal(arithmetic, product, wanted):
            return count
    return 0


def _equal(arithmetic: Arithmetic, a: Entry, b: Entry) -> bool:
    if isinstance(a, int) or isinstance(b, int):
        return arithmetic.equal(a, b)
    return bool(tvm_ffi.structural_equal(a, b)) or arithmetic.equal(a, b)
