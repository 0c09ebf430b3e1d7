"""Matrix products of few columns as dot products: vectors along the reduction, not along columns.

Rows are read as vectors where they lie, and so are columns if the second operand lies transposed;
else it is transposed to scratch, [matrix, columns, K]. Each vector of a row serves all columns of a
tile, whose sums are added up across their lanes in the end, all together. The last vector of a row
ends with it, and what it shares with the one before counts as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.grain import READ
from tvm_sod2.schedules.kernel import Code, EvenBlocks, f32, i64, ramp, splat, unravel
from tvm_sod2.schedules.lane_sums import lane_sums
from tvm_sod2.schedules.microkernel import IN_FLIGHT
from tvm_sod2.schedules.operands import Product
from tvm_sod2.schedules.panels import product
from tvm_sod2.schedules.traits import Traits

ACROSS = 64
"""What the sum across its lanes costs a dot product, in its steps."""


class DotTiles:
    """Writes a product for K of at least one vector, its first operand not transposed."""

    def __init__(
        self, code: Code, factors: Product, lanes: int, traits: Traits, one: bool = False
    ) -> None:
        """`lanes`: of each vector, which K reaches. `one`: there is one column, which then lies as
        the reduction runs in any case."""
        self.code, self.factors, self.cores, self.one = code, factors, traits.cores, one
        self.lanes = lanes
        self.scratch = None
        if not (factors.b.turned or one):
            few = tirx.min(factors.n, i64(self.lanes - 1))
            rows = product([*factors.b.batch, few])
            self.scratch = tirx.decl_buffer([rows * factors.k], "float32", "turned")
        # With one column, fewer rows would be too little work for a tile; with several, more would
        # leave no registers for the factors.
        columns = 4 if traits.vector_registers >= 32 else 2
        self.tile: tuple[int, tuple[int, ...]] = (IN_FLIGHT, (1,)) if one else (4, (columns, 1))

    def write(self) -> None:
        """The kernel in tiles of as many columns as there are, the rest one by one."""
        code, factors, most = self.code, self.factors, self.tile[0]
        if self.scratch is not None:
            self._fill()
        blocks = EvenBlocks(code, factors.m, most)
        vectors = code.slot(factors.k // i64(self.lanes), "vectors")
        products = code.slot(product(factors.batch), "products")
        parts = i64(4 * self.cores) // tirx.max(products, i64(1))
        parts = code.slot(tirx.max(tirx.min(parts, blocks.count), i64(1)), "parts")
        sums = product([*factors.batch, factors.m, factors.n])
        work = sums * (factors.k * i64(READ) if self.one else factors.k + i64(ACROSS))
        with code.tasks(products * parts, "t", work) as t, code.bank():
            part = code.slot(t % parts, "part")
            at = unravel(code, t // parts, factors.batch)
            begin = code.slot(part * blocks.count // parts, "begin")
            end = code.slot((part + i64(1)) * blocks.count // parts, "end")
            with code.loop(end - begin, "block") as block:
                if self.one:
                    self._column(at, begin + block, vectors)
                else:
                    self._columns(at, *blocks.locate(begin + block), vectors)

    def _columns(self, at: list[Any], first: Any, rows: Any, vectors: Any) -> None:
        """Some rows times all columns."""
        code, n = self.code, self.factors.n
        most, widths = self.tile
        done: Any = i64(0)
        for columns in widths:
            count = code.slot((n - done) // i64(columns), "count")
            with code.loop(count, "panel") as panel:
                start = code.slot(done + panel * i64(columns), "start")
                self._finish(_Tile(self, at, first, start, (most, columns), vectors), rows)
            done = code.slot(done + count * i64(columns), "done")

    def _column(self, at: list[Any], block: Any, vectors: Any) -> None:
        """Some rows times the only column: a whole tile, if there are rows for it, as the last one
        is moved up to end with the last row."""
        code, most, m = self.code, self.tile[0], self.factors.m
        first = code.slot(tirx.max(tirx.min(block * i64(most), m - i64(most)), i64(0)), "first")

        def rows_of(count: Any, least: int) -> None:
            tile = _Tile(self, at, first, i64(0), (most, 1), vectors, least)
            self._finish(tile, count)

        some = partial(rows_of, m, 1)
        code.branch([(m >= i64(most), partial(rows_of, i64(most), most)), (None, some)])

    def column(self, batch: Sequence[Any], column: Any, i: Any) -> Any:
        """Elements `i` of a column."""
        b, n, k = self.factors.b, self.factors.n, self.factors.k
        if self.one:
            return b.along(batch, i)
        if self.scratch is None:
            return b.at(batch, i, column)
        return self.scratch[(b.matrix(batch) * n + column) * k + i]

    def _fill(self) -> None:
        """Transpose the second operand."""
        code, b, n, k = self.code, self.factors.b, self.factors.n, self.factors.k
        with code.loop(product(b.batch), "matrix") as matrix:
            at = unravel(code, matrix, b.batch)
            with code.loop(n, "column") as column, code.loop(k, "i") as i:
                code.store(self.scratch, b.buffer[(*at, i, column)], (matrix * n + column) * k + i)

    def _finish(self, tile: _Tile, rows: Any) -> None:
        """Store what the epilogue makes of a tile's sums, along rows or columns, as they lie."""
        code, most, columns = self.code, tile.most, tile.columns
        sums = tile.totals()
        if not (self.factors.crossed or self.one):
            with code.loop(rows, "r") as r, code.vector(columns) as lane:
                self._store(sums[r * i64(columns) + lane], tile, r, lane)
            return

        def whole() -> None:
            with code.loop(columns, "c") as c, code.vector(most) as lane:
                self._store(sums[c * i64(most) + lane], tile, lane, c)

        def some() -> None:
            with code.loop(columns, "c") as c, code.loop(rows, "r") as r:
                self._store(sums[c * i64(most) + r], tile, r, c)

        if tile.least == most:
            whole()
        elif self.one:
            some()
        else:
            code.branch([(rows == i64(most), whole), (None, some)])

    def _store(self, total: Any, tile: _Tile, r: Any, c: Any) -> None:
        index = self.factors.store_index(tile.at, tile.first + r, tile.start + c)
        group = self.factors.group
        value = group.stored(total, index)
        if self.one:
            # The same place, at a stride that is known.
            index = [*tile.at, i64(0), tile.first + r]
        self.code.store(group.output, value, *index)


class _Tile:
    """The products of some rows, from `first` on, with some columns, from `start` on."""

    def __init__(
        self,
        dots: DotTiles,
        at: list[Any],
        first: Any,
        start: Any,
        shape: tuple[int, int],
        vectors: Any,
        least: int = 1,
    ) -> None:
        """`least`: rows that there are at least."""
        self.dots, self.code, self.lanes = dots, dots.code, dots.lanes
        self.at, self.first, self.start, self.vectors = at, first, start, vectors
        self.most, self.columns = shape
        self.least = least
        # Rows beyond the last are the last again.
        last = dots.factors.m - i64(1)
        self.rows = [
            first + i64(r) if r < least else self.code.slot(tirx.min(first + i64(r), last), "row")
            for r in range(self.most)
        ]

    def totals(self) -> Any:
        """A buffer of the sums in the order of the output."""
        code, lanes = self.code, self.lanes
        rows, columns = range(self.most), range(self.columns)
        # Two sums for each where few would wait for each other.
        chains = 2 if self.most * self.columns < IN_FLIGHT else 1
        sums = [
            [[code.register(lanes, "dot", r, c, n) for n in range(chains)] for c in columns]
            for r in rows
        ]
        for total in (x for row in sums for column in row for x in column):
            code.store(total, splat(f32(0.0), lanes), ramp(0, lanes))
        with code.loop(self.vectors // i64(chains), "vector") as vector:
            for chain in range(chains):
                self._step(sums, (vector * i64(chains) + i64(chain)) * i64(lanes), chain)
        if chains > 1:
            with code.loop(self.vectors % i64(chains), "odd"):
                self._step(sums, (self.vectors - i64(1)) * i64(lanes), 0)
        self._rest(sums)
        whole = ramp(0, lanes)
        if chains > 1:
            for first, second in (parts for row in sums for parts in row):
                code.store(first, first[whole] + second[whole], whole)
        made = code.buffer(self.most * self.columns, "sums")
        if self.dots.factors.crossed or self.dots.one:
            flat = [sums[r][c][0] for c in columns for r in rows]
        else:
            flat = [sums[r][c][0] for r in rows for c in columns]
        for begin in range(0, len(flat), lanes):
            some = flat[begin : begin + lanes]
            code.store(made, lane_sums(code, some), ramp(begin, len(some)))
        return made

    def _row(self, r: int, i: Any) -> Any:
        return self.dots.factors.a.at(self.at, self.rows[r], i)

    def _column(self, c: int, i: Any) -> Any:
        return self.dots.column(self.at, self.start + i64(c), i)

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
        code, lanes, k = self.code, self.lanes, self.dots.factors.k
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
