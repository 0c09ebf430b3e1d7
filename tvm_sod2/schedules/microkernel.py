"""The register tile every dense kernel is made of.

A tile is `rows` x `vectors` accumulators. Each step of the reduction loads the panel's vectors
once, broadcasts one scalar for each row and multiplies and adds. When a tile has too few
accumulators to cover the latency of FMA, the reduction is dealt out to several chains that are
added at the end. The finished tile goes through a stack buffer, so that the epilogue is one loop
over rows, whatever the number of rows: it is generated once instead of once for each version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, f32, i64, ramp, splat
from tvm_sod2.schedules.traits import Traits

T = TypeVar("T")

# Lanes of each vector in a row of a tile.
Widths = tuple[int, ...]

# FMAs that must be in flight to hide their latency: 4 cycles on two ports.
IN_FLIGHT = 8


@dataclass(frozen=True)
class Shape:
    """A tile's largest shape on a target: `rows` x (`vectors` of `lanes`)."""

    rows: int
    vectors: int
    lanes: int

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
        # Beside the accumulators: the panel's vectors, and the broadcast row element.
        rows = min(12, (traits.vector_registers - 2 - 1) // 2)
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

    def fill(self, code: Code, panel: Any, write: Callable[[Widths], None]) -> None:
        """Write code for the vectors of a whole panel and of the last one."""
        tail = widths(self.n % self.shape.columns, self.shape.lanes)
        self._choose(code, panel, self.shape.whole, tail, write)

    def store(self, code: Code, panel: Any, write: Callable[[int], None]) -> None:
        """Write code for each number of columns that a panel may have."""
        self._choose(code, panel, self.shape.columns, self.n % self.shape.columns, write)

    def _choose(self, code: Code, panel: Any, full: T, tail: T, write: Callable[[T], None]) -> None:
        whole = self.n // self.shape.columns
        if whole == 0:
            write(tail)
        elif not tail or tail == full:
            write(full)
        else:
            code.branch([(panel < i64(whole), lambda: write(full)), (None, lambda: write(tail))])


def by_rows(code: Code, rows: Any, most: int, fill: Callable[[int], None]) -> None:
    """One version of `fill` for each number of rows up to `most`, full one first.

    No version carries a predicate.
    """
    cases = [(rows == i64(count), partial(fill, count)) for count in range(most, 1, -1)]
    code.branch([*cases, (None, partial(fill, 1))])


class Tile:
    """A finished tile on the stack, one buffer for each column of vectors."""

    def __init__(self, code: Code, shape: Shape) -> None:
        self.code = code
        self.shape = shape
        self.parts = [
            code.buffer(shape.rows * shape.lanes, f"tile{v}") for v in range(shape.vectors)
        ]

    def store(
        self, group: Group, rows: Any, at: Callable[[Any], Sequence[Any]], start: Any, columns: int
    ) -> None:
        """Apply the epilogue to the first `rows` rows and `columns` columns and store them.

        `at` gives the leading output indices of a row, `start` the output column of column 0.
        """
        code = self.code
        with code.loop(rows, "r") as r:
            lead = [*at(r)]
            for first, width in pieces(columns, self.shape.lanes):
                part, offset = divmod(first, self.shape.lanes)
                with code.vector(width) as j:
                    register = self.parts[part][r * i64(self.shape.lanes) + i64(offset) + j]
                    index = [*lead, start + i64(first) + j]
                    code.store(group.output, group.stored(register, index), *index)


class Registers:
    """Zeroed accumulators, one row of vectors for each of `rows`, to be fed by `run`.

    Different tiles of one bank use the same ones.
    """

    def __init__(self, code: Code, rows: int, vectors: Widths) -> None:
        self.code, self.rows, self.vectors = code, rows, vectors
        self.chains = max(1, IN_FLIGHT // (rows * len(vectors)))
        self.sums = [
            [
                [code.register(width, "sum", r, v, c) for c in range(self.chains)]
                for v, width in enumerate(vectors)
            ]
            for r in range(rows)
        ]
        for row in self.sums:
            for chains, width in zip(row, vectors, strict=True):
                for total in chains:
                    code.store(total, splat(f32(0.0), width), ramp(0, width))

    def run(
        self,
        length: Any,
        data: Callable[[int, Any], Any],
        weight: Callable[[int, int, Any], Any],
    ) -> None:
        """Add `data(row, k) * weight(vector, width, k)` for k in [0, length)."""
        code = self.code
        chains = self.chains if isinstance(length, int) else i64(self.chains)
        whole, rest = length // chains, length % chains
        with code.loop(whole, "k") as k:
            for c in range(self.chains):
                self._step(k * i64(self.chains) + i64(c), c, data, weight)
        if self.chains > 1 and not (isinstance(rest, int) and rest == 0):
            with code.loop(rest, "k") as k:
                self._step(i64(whole * chains) + k, 0, data, weight)

    def _step(
        self,
        k: Any,
        chain: int,
        data: Callable[[int, Any], Any],
        weight: Callable[[int, int, Any], Any],
    ) -> None:
        panel = [weight(v, width, k) for v, width in enumerate(self.vectors)]
        for r, row in enumerate(self.sums):
            scalar = data(r, k)
            for chains, factor, width in zip(row, panel, self.vectors, strict=True):
                total, lanes = chains[chain], ramp(0, width)
                self.code.store(total, total[lanes] + splat(scalar, width) * factor, lanes)

    def totals(self) -> Iterator[tuple[int, int, Any, int]]:
        """Row, number in the row, sum over the chains and width of each vector."""
        for r, row in enumerate(self.sums):
            for v, (chains, width) in enumerate(zip(row, self.vectors, strict=True)):
                value = chains[0][ramp(0, width)]
                for other in chains[1:]:
                    value = value + other[ramp(0, width)]
                yield r, v, value, width

    def spill(self, tile: Tile) -> None:
        """Put the sums on the stack."""
        for r, v, value, width in self.totals():
            self.code.store(tile.parts[v], value, ramp(r * tile.shape.lanes, width))


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
