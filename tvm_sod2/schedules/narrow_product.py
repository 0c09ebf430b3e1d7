"""Product of two run-time operands with fewer columns than a vector has lanes.

A row of the result is one short vector: of each step of the reduction, an element of A's row times
B's row, which lies packed to the vector's width. The lanes beyond column N reach into the rows that
follow. These are written later, by the same worker, so whole vectors are stored; only where they
would reach beyond a worker's last row does a row go element by element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.kernel import Code, f32, i64, ramp, splat, unravel
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.operands import Product
from tvm_sod2.schedules.packed_product import APART
from tvm_sod2.schedules.panels import product
from tvm_sod2.schedules.traits import Traits

ROWS, FEW = 8, 4
"""Rows of a tile, and of those at the end, where rows beyond the last are the last again."""

STORED = 4
"""What storing a row costs, in steps of the reduction."""


class NarrowProduct:
    """Writes a product for N below the lanes of a vector; only N of 1 may be crossed."""

    def __init__(self, code: Code, factors: Product, traits: Traits) -> None:
        self.code, self.factors = code, factors
        self.lanes = traits.lanes("float32")
        # No column is no work, and no vector may be stored.
        rows = product([*factors.batch, factors.m])
        self.rows = tirx.Select(factors.n > i64(0), rows, i64(0))
        self.workers = tirx.min(self.rows, i64(traits.cores))
        self.size = factors.k * i64(self.lanes) + i64(APART // 4)
        self.scratch = tirx.decl_buffer([self.workers * self.size], "float32", "packed")

    def write(self, width: int) -> None:
        """All rows as vectors of `width` lanes, at least N: all lanes of a vector, or half."""
        code, factors = self.code, self.factors
        workers = code.slot(self.workers, "workers")
        work = self.rows * (factors.k + i64(STORED)) * i64(width)
        with code.tasks(workers, "worker", work) as worker, code.bank():
            total = code.slot(self.rows, "total")
            base = code.slot(worker * self.size, "base")
            begin = code.slot(worker * total // workers, "begin")
            end = code.slot((worker + i64(1)) * total // workers, "end")
            over = code.slot((i64(width) + factors.n - i64(1)) // _some(factors.n), "over")
            from_matrix = code.slot(begin // _some(factors.m), "from")
            last = (end + factors.m - i64(1)) // _some(factors.m)
            with code.loop(last - from_matrix, "turn") as turn:
                number = code.slot(from_matrix + turn, "number")
                at = unravel(code, number, factors.batch)
                first = code.slot(number * factors.m, "first")
                low = code.slot(tirx.max(begin - first, i64(0)), "low")
                high = code.slot(tirx.min(end - first, factors.m), "high")
                self._pack(width, base, at)
                whole = code.slot(end - first - over, "whole")
                _Rows(self, width, base, at, (low, high), whole).write()

    def _pack(self, width: int, base: Any, at: Sequence[Any]) -> None:
        """Copy the rows of a matrix of B, each to a vector of its own."""
        code, b, n, k = self.code, self.factors.b, self.factors.n, self.factors.k

        def place(i: Any) -> Any:
            return base + i * i64(width)

        copied: Any = i64(0)
        if not b.turned:
            # A row's vector reaches into the rows that follow, up to the end of the matrix.
            reach = (n * k - i64(width)) // _some(n) + i64(1)
            copied = code.slot(tirx.max(tirx.min(reach, k), i64(0)), "copied")
            with code.loop(copied, "i") as i:
                row = b.at(at, i, ramp(i64(0), width))
                code.store(self.scratch, row, ramp(place(i), width))
        with code.loop(k - copied, "rest") as rest:
            i = copied + rest
            # What lies here might be numbers that take long.
            code.store(self.scratch, splat(f32(0.0), width), ramp(place(i), width))
            with code.loop(n, "column") as column:
                code.store(self.scratch, b.at(at, i, column), place(i) + column)


def _some(dim: Any) -> Any:
    """A divisor that TVM does not find to be 0 where other kernels take all other sizes."""
    return tirx.max(dim, i64(1))


class _Rows:
    """The rows of one matrix that a worker has, from `low` to `high`."""

    def __init__(
        self,
        narrow: NarrowProduct,
        width: int,
        base: Any,
        at: list[Any],
        part: tuple[Any, Any],
        whole: Any,
    ) -> None:
        """`whole`: the last row whose vector ends within the worker's rows."""
        self.narrow, self.code, self.factors = narrow, narrow.code, narrow.factors
        self.width, self.base, self.at, self.whole = width, base, at, whole
        self.low, self.high = part
        self.group = self.factors.group
        self.light = self.group.light()

    def write(self) -> None:
        """Whole tiles, then those of few rows."""
        code = self.code
        self.tile = code.buffer(ROWS * self.width, "tile")
        whole = code.slot((self.high - self.low) // i64(ROWS), "tiles")
        with code.loop(whole, "block") as block:
            first = code.slot(self.low + block * i64(ROWS), "first")
            self._block(first, i64(ROWS), [first + i64(r) for r in range(ROWS)])
        rest = code.slot(self.low + whole * i64(ROWS), "rest")
        with code.loop((self.high - rest + i64(FEW - 1)) // i64(FEW), "block") as block:
            first = code.slot(rest + block * i64(FEW), "first")
            rows = code.slot(tirx.min(self.high - first, i64(FEW)), "rows")
            last = self.high - i64(1)
            taken = [code.slot(tirx.min(first + i64(r), last), "row") for r in range(FEW)]
            self._block(first, rows, taken)

    def _block(self, first: Any, rows: Any, taken: Sequence[Any]) -> None:
        code = self.code
        inside = first + rows - i64(1) <= self.whole
        sums = self._sums(taken)
        edge = partial(self._rows_of, first, rows, self._store_elements)
        if self.light:

            def stored() -> None:
                for r, _, _, total in sums.totals():
                    self._store_vector(total, i64(0), taken[r])

            def put() -> None:
                self._put(sums)
                edge()

            code.branch([(inside, stored), (None, put)])
            return
        self._put(sums)
        vectors = partial(self._rows_of, first, rows, self._store_vector)
        code.branch([(inside, vectors), (None, edge)])

    def _sums(self, rows: Sequence[Any]) -> Registers:
        factors, k = self.factors, self.factors.k
        registers = Registers(self.code, len(rows), (self.width,), 1)
        registers.run(
            int(k) if isinstance(k, tirx.IntImm) else k,
            lambda r, i: factors.a.at(self.at, rows[r], i),
            lambda _, width, i: self.narrow.scratch[ramp(self.base + i * i64(width), width)],
        )
        return registers

    def _put(self, sums: Registers) -> None:
        for r, _, width, total in sums.totals():
            self.code.store(self.tile, total[ramp(0, width)], ramp(r * width, width))

    def _rows_of(self, first: Any, rows: Any, store: Callable[[Any, Any, Any], None]) -> None:
        with self.code.loop(rows, "r") as r:
            store(self.tile, r * i64(self.width), first + r)

    def _store_vector(self, sums: Any, start: Any, row: Any) -> None:
        """A row with the lanes beyond it, which read what belongs to its last column."""
        factors, group, width = self.factors, self.group, self.width
        with self.code.vector(width) as lane:
            column = tirx.min(lane, factors.n - i64(1))
            value = group.stored(sums[start + lane], factors.store_index(self.at, row, column))
            index = [i64(0), row + lane] if factors.crossed else [row, lane]
            self.code.store(group.output, value, *self.at, *index)

    def _store_elements(self, sums: Any, start: Any, row: Any) -> None:
        with self.code.loop(self.factors.n, "column") as column:
            index = self.factors.store_index(self.at, row, column)
            self.code.store(
                self.group.output, self.group.stored(sums[start + column], index), *index
            )
