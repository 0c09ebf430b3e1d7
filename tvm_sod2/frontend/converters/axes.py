"""Axes that only the run knows: where they lie is tensor arithmetic, the rank stays static."""

from __future__ import annotations

import numpy as np
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Dim


def is_hit(c: Context, axes: Expr, rank: int) -> Expr:
    """Return per axis of a tensor of ``rank`` whether it is among ``axes``: bool, shape (rank,)."""
    axes = c.reshape(c.astype(axes, "int64"), [c.dims(axes)[0] if c.rank(axes) else 1, 1])
    hits = c.emit(R.equal(_from_front(c, axes, rank), c.ints([list(range(rank))])))
    return c.emit(R.greater(c.emit(R.sum(c.astype(hits, "int64"), [0], False)), c.ints(0)))


def _from_front(c: Context, axes: Expr, rank: int) -> Expr:
    return c.emit(R.floor_mod(axes, c.ints(max(rank, 1))))


def spread(c: Context, axes: Expr, values: Expr, otherwise: Expr) -> Expr:
    """Return an int64 vector of ``otherwise`` with ``values[i]`` at position ``axes[i]``."""
    rank = c.dims(otherwise)[0]
    count = c.dims(axes)[0]
    column = c.reshape(_from_front(c, c.astype(axes, "int64"), rank), [count, 1])
    hits = c.emit(R.equal(column, c.ints([list(range(rank))])))
    rows = c.reshape(c.astype(values, "int64"), [count, 1])
    given = c.emit(R.sum(c.emit(R.where(hits, rows, c.ints(0))), [0], False))
    return c.emit(R.where(is_hit(c, axes, rank), given, otherwise))


def squeezed(c: Context, x: Expr, hit: Expr, rank: int) -> Expr:
    """Return ``x`` reshaped to the ``rank`` dims of it that are not hit."""
    place = _places(c, hit)
    sizes = c.reshape(c.shape_tensor(x), [1, c.rank(x)])
    kept = c.reshape(c.emit(R.logical_not(hit)), [1, c.rank(x)])
    wanted = c.emit(R.equal(c.ints([[i] for i in range(rank)]), place))
    here = c.emit(R.where(c.emit(R.logical_and(wanted, kept)), sizes, c.ints(0)))
    return _reshaped(c, x, c.emit(R.sum(here, [1], False)), rank)


def unsqueezed(c: Context, x: Expr, hit: Expr) -> Expr:
    """Return ``x`` with a dim of 1 at each position that is hit."""
    rank = c.dims(hit)[0]
    if not c.rank(x):
        return c.reshape(x, [1] * rank)
    place = c.reshape(_places(c, hit), [rank, 1])
    sizes = c.reshape(c.shape_tensor(x), [1, c.rank(x)])
    here = c.emit(R.equal(place, c.ints([list(range(c.rank(x)))])))
    kept = c.emit(R.sum(c.emit(R.where(here, sizes, c.ints(0))), [1], False))
    return _reshaped(c, x, c.emit(R.where(hit, c.ints(1), kept)), rank)


def _places(c: Context, hit: Expr) -> Expr:
    """Return for each position how many positions before it are not hit: int64, shape (1, n)."""
    count = c.dims(hit)[0]
    kept = c.reshape(c.astype(c.emit(R.logical_not(hit)), "int64"), [1, count])
    before = const(np.tri(count, k=-1, dtype="int64"))
    return c.reshape(c.emit(R.sum(c.emit(R.multiply(kept, before)), [1], False)), [1, count])


def _reshaped(c: Context, x: Expr, shape: Expr, rank: int) -> Expr:
    return c.reshape(x, c.symbols_of(shape, rank) if rank else [])


def parted(c: Context, x: Expr, hit: Expr) -> tuple[Expr, list[int]]:
    """Return ``x`` with every axis parted in two, and the new axes that hold those hit.

    An axis of size d becomes (1, d) where it is hit and (d, 1) elsewhere: to reduce over the second
    of each pair is to reduce over the axes hit, keeping their dims.
    """
    rank = c.rank(x)
    sizes = c.shape_tensor(x)
    kept = c.emit(R.where(hit, c.ints(1), sizes))
    gone = c.emit(R.where(hit, sizes, c.ints(1)))
    symbols = c.symbols_of(c.emit(R.concat([kept, gone], 0)), 2 * rank, f"{c.hint}_parts")
    pairs: list[Dim] = [symbols[i + part * rank] for i in range(rank) for part in range(2)]
    return c.reshape(x, pairs), list(range(1, 2 * rank, 2))
