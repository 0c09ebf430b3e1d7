"""One row times a matrix whose rows are long: bound by reading the matrix, a few rows at a time.

Sums of up to `CHUNK` columns lie in a scratch that stays in the first-level cache, so that memory
is read in long runs, as prefetchers like it: tiles of 16 vectors took 1.3 times as long for
3000x1100. The last vector is moved left until it ends at column N, with a sum of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.grain import READ
from tvm_sod2.schedules.kernel import Code, f32, i64, ramp, splat, unravel
from tvm_sod2.schedules.operands import Product
from tvm_sod2.schedules.packed_product import APART
from tvm_sod2.schedules.panels import product
from tvm_sod2.schedules.traits import Traits

CHUNK = 4096
"""Columns whose sums are kept at once, 16 KiB."""

TOGETHER = 8
"""Rows of the matrix that are read side by side, and a sum loaded and stored once for all.

One at a time takes 1.4 times as long, 16 take 1.5 times where rows are a power of two apart.
"""


class RowStream:
    """Writes a product for M of one, crossed or not, and N of at least one vector."""

    def __init__(self, code: Code, factors: Product, traits: Traits) -> None:
        self.code, self.factors, self.lanes = code, factors, traits.lanes("float32")
        self.vectors = (factors.n + i64(self.lanes - 1)) // i64(self.lanes)
        self.workers = tirx.min(product(factors.batch) * self.vectors, i64(traits.cores))
        self.size = i64(CHUNK + APART // 4)
        self.scratch = tirx.decl_buffer([self.workers * self.size], "float32", "sums")

    def write(self) -> None:
        """A worker's vectors, in chunks that end with the row."""
        code, factors, most = self.code, self.factors, i64(CHUNK // self.lanes)
        workers = code.slot(self.workers, "workers")
        work = product([*factors.batch, factors.n, factors.k, i64(READ)])
        with code.tasks(workers, "worker", work) as worker:
            vectors = code.slot(self.vectors, "vectors")
            units = code.slot(product(factors.batch) * vectors, "units")
            base = code.slot(worker * self.size, "base")
            begin = code.slot(worker * units // workers, "begin")
            end = code.slot((worker + i64(1)) * units // workers, "end")
            from_row = code.slot(begin // vectors, "from")
            with code.loop((end + vectors - i64(1)) // vectors - from_row, "turn") as turn:
                number = code.slot(from_row + turn, "number")
                at = unravel(code, number, factors.batch)
                low = code.slot(tirx.max(begin - number * vectors, i64(0)), "low")
                high = code.slot(tirx.min(end - number * vectors, vectors), "high")
                with code.loop((high - low + most - i64(1)) // most, "chunk") as chunk:
                    first = code.slot(low + chunk * most, "first")
                    count = code.slot(tirx.min(high - first, most), "count")
                    self._chunk(base, at, first, count)

    def _chunk(self, base: Any, at: Sequence[Any], first: Any, count: Any) -> None:
        """The sums of some vectors of a row, and what the epilogue makes of them."""
        code, factors, lanes = self.code, self.factors, self.lanes
        group = factors.group
        last = code.slot(tirx.min((first + count) * i64(lanes), factors.n) - i64(lanes), "last")
        start = code.slot(first * i64(lanes), "start")

        def place(v: Any) -> Any:
            return ramp(base + v * i64(lanes), lanes)

        def add(i: Any, rows: int) -> None:
            def vector(v: Any, column: Any) -> None:
                total = self.scratch[place(v)]
                for row in range(rows):
                    k = i + i64(row)
                    scalar = splat(factors.a.at(at, i64(0), k), lanes)
                    total = total + scalar * factors.b.at(at, k, ramp(column, lanes))
                code.store(self.scratch, total, place(v))

            with code.loop(count - i64(1), "v") as v:
                vector(v, start + v * i64(lanes))
            vector(count - i64(1), last)

        with code.loop(count, "v") as v:
            code.store(self.scratch, splat(f32(0.0), lanes), place(v))
        with code.loop(factors.k // i64(TOGETHER), "i") as i:
            add(i * i64(TOGETHER), TOGETHER)
        with code.loop(factors.k % i64(TOGETHER), "i") as i:
            add(factors.k // i64(TOGETHER) * i64(TOGETHER) + i, 1)
        with code.loop(count, "v") as v:
            column = code.slot(tirx.min(start + v * i64(lanes), last), "column")
            with code.vector(lanes) as lane:
                index = factors.store_index(at, i64(0), column + lane)
                value = group.stored(self.scratch[base + v * i64(lanes) + lane], index)
                # The same place, at a stride that is known.
                code.store(group.output, value, *at, i64(0), column + lane)
