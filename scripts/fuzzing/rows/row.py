"""A row of the table of operators, and what several rows share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..drawing import RejectedError
from ..growth import Growth
from ..values import Value

FLOAT = ("float32", "float32", "float32", "float64", "float16")
INTEGER = ("int64", "int32")
SMALL = ("int8", "uint8")
ANY = ("float32", "int64", "bool", "int32", "float16", "float64", "uint8", "int8")


class Row(NamedTuple):
    """add: grows the graph by the operator, or raises RejectedError. weight: how often it is drawn.

    since: the first operator set that has it.
    """

    name: str
    add: Callable[[Growth], object]
    weight: float = 1.0
    since: int = 1


def axis_of(g: Growth, value: Value) -> int:
    """An axis, counted from either end."""
    if not value.rank:
        raise RejectedError
    return g.integer(-value.rank, value.rank - 1)


def axes_of(g: Growth, value: Value, least: int = 0) -> list[int]:
    """Some axes, each counted from either end, in no order."""
    if value.rank < least:
        raise RejectedError
    count = g.integer(least, value.rank)
    axes = g.rng.permutation(value.rank)[:count]
    return [int(a) - (value.rank if g.flip(0.4) else 0) for a in axes]


def positive(g: Growth, value: Value, least: float = 0.5) -> Value:
    """Entries of `least` and more."""
    return g.op("Add", g.op("Abs", value), g.const(least, value.dtype))


def bounded(g: Growth, value: Value, limit: float = 0.9) -> Value:
    """Float entries between -limit and limit."""
    return g.op("Mul", g.op("Tanh", value), g.const(limit, value.dtype))


def vector(g: Growth, entries: Sequence[int], dtype: str = "int64") -> Value:
    """A vector of integers: a weight, or a run-time input."""
    if g.flip(0.25):
        return run_time_vector(g, [entries] * len(g.sizes), dtype)
    return g.const(list(entries), dtype)


def run_time_vector(
    g: Growth, entries: Sequence[Sequence[int] | None], dtype: str = "int64"
) -> Value:
    """A vector of integers that only the run knows, of a known length."""
    import numpy as np

    arrays = [None if e is None else np.array(e, dtype) for e in entries]
    length = next(len(a) for a in arrays if a is not None)
    return g.given(arrays, [length])


def meets(g: Growth, a: Value, b: Value) -> bool:
    """Whether the shapes broadcast; unless the graph is free, in the same way at all samples."""
    both = zip(a.exact, b.exact, strict=True)
    shapes = [(x.shape, y.shape) for x, y in both if x is not None and y is not None]
    for axis in range(1, min(a.rank, b.rank) + 1):
        pairs = [(x[-axis], y[-axis]) for x, y in shapes]
        one, other = map(set, zip(*pairs, strict=True))
        if {1} in (one, other) or all(x == y for x, y in pairs):
            continue
        if not (g.free and all(x == y or 1 in (x, y) for x, y in pairs)):
            return False
    return True


def partner(g: Growth, value: Value) -> Value:
    """Another operand for an elementwise operator: an old value, a weight or a new input."""
    if g.flip(0.65):
        return g.pick([value.dtype], where=lambda other: meets(g, value, other))
    if g.flip(0.35) and value.rank:
        return g.like(value)
    sizes = [value.fixed(axis) for axis in range(value.rank)]
    sizes = sizes[g.integer(0, len(sizes)) :]
    dims = [1 if size is None or g.flip(0.3) else size for size in sizes]
    return g.const(g.draw(value.dtype, dims))
