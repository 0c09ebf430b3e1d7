"""How columns, rows and weights are cut to the shape of a register tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from tvm_sod2.schedules.kernel import Code, i64
from tvm_sod2.schedules.traits import Traits

T = TypeVar("T")

# Lanes of each vector in a row of a tile.
Widths = tuple[int, ...]


@dataclass(frozen=True)
class Shape:
    """A tile's largest shape on a target: `rows` x (`vectors` of `lanes`)."""

    rows: int
    vectors: int
    lanes: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"

    @property
    def columns(self) -> int:
        return self.vectors * self.lanes

    @property
    def whole(self) -> Widths:
        """The vectors of a row that is filled."""
        return (self.lanes,) * self.vectors

    @staticmethod
    def for_columns(columns: int, traits: Traits) -> Shape:
        """Two vectors wide where there are columns for it, with as many rows as registers hold."""
        lanes = traits.lanes("float32")
        vectors = 2 if columns > lanes else 1
        # Beside the accumulators: the panel's vectors, and the broadcast row element; without FMA a
        # copy of it and the product, too.
        beside = 2 + (1 if traits.fma else 3)
        rows = min(12, (traits.vector_registers - beside) // 2)
        return Shape(rows - rows % 2, vectors, lanes)


@dataclass(frozen=True)
class Panels:
    """`n` output columns cut into panels of a tile's width; the last may be narrower."""

    n: int
    shape: Shape

    @property
    def count(self) -> int:
        return -(-self.n // self.shape.columns)

    def packed_shape(self, k: int) -> list[Any]:
        """Shape of the weights that `pack_panels` makes for a reduction over k."""
        return [i64(self.count), i64(max(k, 1)), i64(self.shape.columns)]

    def choose(self, code: Code, panel: Any, full: T, tail: T, write: Callable[[T], None]) -> None:
        """Write code for whole panels and, unless it is the same, for the last and narrower one."""
        whole, rest = divmod(self.n, self.shape.columns)
        if whole == 0:
            write(tail)
        elif not rest or tail == full:
            write(full)
        else:
            code.branch([(panel < i64(whole), lambda: write(full)), (None, lambda: write(tail))])


def by_rows(code: Code, rows: Any, most: int, fill: Callable[[int], None], least: int = 1) -> None:
    """One version of `fill` for each number of rows from `least` to `most`, full one first.

    No version carries a predicate.
    """
    cases = [(rows == i64(count), partial(fill, count)) for count in range(most, least, -1)]
    code.branch([*cases, (None, partial(fill, least))])


def widths(columns: int, lanes: int) -> Widths:
    """Lanes of the vectors that cover some columns; the last is as short as covers the rest.

    A half vector costs half a vector where the machine splits wide ones, and never more.
    """
    rest = columns % lanes
    last = lanes
    while last > 4 and last // 2 >= rest:
        last //= 2
    return (*(lanes for _ in range(columns // lanes)), *((last,) if rest else ()))


def pieces(columns: int, lanes: int) -> list[tuple[int, int]]:
    """Split columns into (first, width): whole vectors, then halves, down to single lanes.

    BufferStore takes no predicate, and activations are dense, so a tail is stored in pieces.
    """
    split, first, width = [], 0, lanes
    while first < columns:
        while width > columns - first:
            width //= 2
        split.append((first, width))
        first += width
    return split


def pack_panels(matrix: np.ndarray, columns: int) -> np.ndarray:
    """Lay out weights [K, N] as panels [ceil(N / columns), K, columns], zeros beyond N.

    For K = 0 there is one row of zeros: TVM cannot load a constant without elements.
    """
    k, n = matrix.shape
    panels = -(-n // columns)
    padded = np.zeros((max(k, 1), panels * columns), matrix.dtype)
    padded[:k, :n] = matrix
    return np.ascontiguousarray(padded.reshape(-1, panels, columns).transpose(1, 0, 2))


def product(dims: Sequence[Any]) -> Any:
    """The product of dims as an int64 expression; 1 for none."""
    total: Any = i64(1)
    for dim in dims:
        total = total * dim
    return total
