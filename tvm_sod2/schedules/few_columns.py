"""Matrix products of few columns as dot products: vectors along the reduction, not along columns.

The second operand is transposed to scratch, [batch, columns, K]. Each vector of a row then serves
all columns of a tile of 4 x 4 sums, or 8 rows of a single column, which are added up across their
lanes in the end. The last vector of a row ends with it, and what it shares with the one before
counts as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, EvenBlocks, f32, i64, ramp, splat, unravel
from tvm_sod2.schedules.legalize import broadcast_index
from tvm_sod2.schedules.microkernel import IN_FLIGHT, across
from tvm_sod2.schedules.panels import product
from tvm_sod2.schedules.traits import Traits

TILE = 4, (4, 1)
"""Rows of a tile, and its columns: as many of the first as there are, the rest one by one."""

COLUMN = 8, (1,)
"""The same where there is one column: fewer rows would be too little work for a tile."""


class FewColumns:
    """Writes A[..., M, K] @ B[..., K, N] for N below a vector and K of at least one."""

    def __init__(self, code: Code, group: Group, traits: Traits) -> None:
        self.code, self.group, self.cores = code, group, traits.cores
        self.lanes = traits.lanes("float32")
        self.a, self.b = group.inputs
        *self.batch, self.m, self.n = group.output.shape
        *self.batch_b, self.k, _ = self.b.shape
        rows = product([*self.batch_b, tirx.min(self.n, i64(self.lanes - 1))])
        self.turned = tirx.decl_buffer([rows * self.k], "float32", "turned")

    def write(self, most: int, widths: Sequence[int]) -> None:
        """The kernel in tiles of `most` rows and `widths` columns, the widest first."""
        code, k, n = self.code, self.k, self.n
        matrices = product(self.batch_b)
        with code.loop(matrices, "matrix") as matrix:
            at = unravel(code, matrix, self.batch_b)
            with code.loop(n, "column") as column, code.loop(k, "i") as i:
                value = self.b[(*at, i, column)]
                code.store(self.turned, value, (matrix * n + column) * k + i)
        blocks = EvenBlocks(code, self.m, most)
        vectors = code.slot(k // i64(self.lanes), "vectors")
        products = code.slot(product(self.batch), "products")
        parts = i64(4 * self.cores) // tirx.max(products, i64(1))
        parts = code.slot(tirx.max(tirx.min(parts, blocks.count), i64(1)), "parts")
        work = product([*self.batch, self.m, n, k])
        with code.tasks(products * parts, "t", work) as t, code.bank():
            part = code.slot(t % parts, "part")
            at = unravel(code, t // parts, self.batch)
            at_b = broadcast_index(self.batch_b, at)
            number: Any = i64(0)
            for dim, index in zip(self.batch_b, at_b, strict=True):
                number = number * dim + index
            turned = code.slot(number * n * k, "begin")
            begin = code.slot(part * blocks.count // parts, "begin")
            end = code.slot((part + i64(1)) * blocks.count // parts, "end")
            with code.loop(end - begin, "block") as block:
                first, rows = blocks.locate(begin + block)
                done: Any = i64(0)
                for columns in widths:
                    count = code.slot((n - done) // i64(columns), "count")
                    with code.loop(count, "panel") as panel:
                        start = code.slot(done + panel * i64(columns), "start")
                        tile = _Tile(self, at, first, turned + start * k, (most, columns), vectors)
                        tile.write()
                        self._finish(tile, at, first, rows, start)
                    done = code.slot(done + count * i64(columns), "done")

    def _finish(self, tile: _Tile, at: list[Any], first: Any, rows: Any, start: Any) -> None:
        """Add up the lanes of each sum and store what the epilogue makes of it."""
        code, group = self.code, self.group
        with code.loop(rows, "r") as r:
            for c, sums in enumerate(tile.sums):
                total = across(code, sums[ramp(r * i64(self.lanes), self.lanes)], self.lanes)
                index = [*at, first + r, start + i64(c)]
                code.store(group.output, group.stored(total, index), *index)


class _Tile:
    """The products of some rows with some columns, which begin at `column` of the scratch."""

    def __init__(
        self,
        few: FewColumns,
        at: list[Any],
        first: Any,
        column: Any,
        shape: tuple[int, int],
        vectors: Any,
    ) -> None:
        self.few, self.code, self.lanes = few, few.code, few.lanes
        self.column, self.vectors = column, vectors
        most, self.columns = shape
        self.lead = broadcast_index(list(few.a.shape)[:-2], at)
        # Rows beyond the last are the last again.
        last = few.m - i64(1)
        self.rows = [few.code.slot(tirx.min(first + i64(r), last), "row") for r in range(most)]
        self.sums = [self.code.buffer(most * few.lanes, f"sums{c}") for c in range(self.columns)]

    def write(self) -> None:
        """Leave a vector for each row and column in `sums`."""
        code, lanes = self.code, self.lanes
        columns = range(self.columns)
        # Two sums for each where few would wait for each other.
        chains = 2 if len(self.rows) * self.columns < IN_FLIGHT else 1
        totals = [
            [[code.register(lanes, "dot", r, c, n) for n in range(chains)] for c in columns]
            for r in range(len(self.rows))
        ]
        for total in (x for row in totals for column in row for x in column):
            code.store(total, splat(f32(0.0), lanes), ramp(0, lanes))
        with code.loop(self.vectors // i64(chains), "vector") as vector:
            for chain in range(chains):
                self._step(totals, (vector * i64(chains) + i64(chain)) * i64(lanes), chain)
        if chains > 1:
            with code.loop(self.vectors % i64(chains), "odd"):
                self._step(totals, (self.vectors - i64(1)) * i64(lanes), 0)
        self._rest(totals)
        for r, row in enumerate(totals):
            for sums, parts in zip(self.sums, row, strict=True):
                value = parts[0][ramp(0, lanes)]
                value = value if chains == 1 else value + parts[1][ramp(0, lanes)]
                code.store(sums, value, ramp(r * lanes, lanes))

    def _row(self, r: int, i: Any) -> Any:
        return self.few.a[(*self.lead, self.rows[r], i)]

    def _column(self, c: int, i: Any) -> Any:
        return self.few.turned[self.column + i64(c) * self.few.k + i]

    def _step(self, totals: list[list[list[Any]]], i: Any, chain: int) -> None:
        """Add a vector of each row times one of each column."""
        whole = ramp(0, self.lanes)
        columns = [self._column(c, ramp(i, self.lanes)) for c in range(self.columns)]
        for r, sums in enumerate(totals):
            row = self._row(r, ramp(i, self.lanes))
            for column, parts in zip(columns, sums, strict=True):
                self.code.store(parts[chain], parts[chain][whole] + row * column, whole)

    def _rest(self, totals: list[list[list[Any]]]) -> None:
        """What whole vectors leave: the last vector without the lanes that came before."""
        code, lanes, k = self.code, self.lanes, self.few.k
        whole = ramp(0, lanes)
        with code.loop(tirx.Select(self.vectors * i64(lanes) < k, i64(1), i64(0)), "once"):
            begin = code.slot(k - i64(lanes), "begin")
            seen = code.slot(self.vectors * i64(lanes) - begin, "seen")
            columns = [code.register(lanes, "column", c) for c in range(self.columns)]
            for c, register in enumerate(columns):
                with code.vector(lanes) as lane:
                    new = tirx.Select(lane >= seen, self._column(c, begin + lane), f32(0.0))
                    code.store(register, new, lane)
            row = code.register(lanes, "row")
            for r, sums in enumerate(totals):
                with code.vector(lanes) as lane:
                    new = tirx.Select(lane >= seen, self._row(r, begin + lane), f32(0.0))
                    code.store(row, new, lane)
                for column, parts in zip(columns, sums, strict=True):
                    value = parts[0][whole] + row[whole] * column[whole]
                    code.store(parts[0], value, whole)
