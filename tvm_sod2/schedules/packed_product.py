"""Product of two run-time operands whose second one each worker packs, a panel at a time.

A worker has a range of (panel, block of rows) and packs a panel when it comes to it, so that each
thread reads what it has written itself; a transposed operand is transposed on the way, in squares
of registers. Panels are up to four vectors wide, as even as can be, and the last vector of a row is
moved left until it ends at column N.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.kernel import Code, EvenBlocks, i64, ramp, unravel
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.operands import Product
from tvm_sod2.schedules.output import SHORT, Output
from tvm_sod2.schedules.panels import Panels, Shape, Widths, by_rows, product
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.transpose import transpose

ROWS = 6

MANY = 20
"""Rows from which on a panel is packed that need not be; even blocks then have five or six."""

APART = 16384
"""Bytes between the packed panels of two workers.

A core that reads a panel to its end asks for what comes behind it: without a distance, for lines
that another core has just written or is about to write. Twelve products of 128x64x128 took 1.2
times as long on two cores, and with 4096 bytes, where B lies transposed, 1.1 times.
"""


class PackedProduct:
    """Writes a product for N of at least one vector."""

    def __init__(self, code: Code, factors: Product, traits: Traits, many: bool) -> None:
        """`many`: there are `MANY` rows and two vectors of columns, so that blocks have no less
        than five and panels no less than half of the most: a quarter of the versions."""
        self.code, self.factors = code, factors
        self.lanes = traits.lanes("float32")
        # Beside the sums: the panel's vectors and one broadcast element.
        self.most = 4 if traits.vector_registers >= 32 else 2
        self.least = (ROWS - 1, self.most // 2) if many else (1, 1)
        vectors = (factors.n + i64(self.lanes - 1)) // i64(self.lanes)
        rows = (factors.m + i64(ROWS - 1)) // i64(ROWS)
        tasks = product(factors.batch) * rows * ((vectors + i64(self.most - 1)) // i64(self.most))
        self.workers = tirx.min(tasks, i64(traits.cores))
        self.size = factors.k * i64(self.most * self.lanes) + i64(APART // 4)
        self.scratch = tirx.decl_buffer([self.workers * self.size], "float32", "packed")

    @property
    def name(self) -> str:
        return f"packed {ROWS}x{self.most * self.lanes}"

    def write(self) -> None:
        """The loops over a worker's panels and, inside, their rows."""
        code, factors = self.code, self.factors
        workers = code.slot(self.workers, "workers")
        work = product([*factors.batch, factors.m, factors.n, factors.k])
        with code.tasks(workers, "worker", work) as worker, code.bank():
            # On the worker's own stack: what stands before the loop lies in lines of another core.
            vectors = code.slot((factors.n + i64(self.lanes - 1)) // i64(self.lanes), "vectors")
            panels, blocks = EvenBlocks(code, vectors, self.most), EvenBlocks(code, factors.m, ROWS)
            # Vectors are dealt out, not panels: these may be of different widths.
            each = code.slot(vectors * blocks.count, "each")
            units = code.slot(product(factors.batch) * each, "units")
            base = code.slot(worker * self.size, "base")
            begin = code.slot(worker * units // workers, "begin")
            end = code.slot((worker + i64(1)) * units // workers, "end")

            def panel_of(unit: Any) -> Any:
                vector = code.slot(unit % each // blocks.count, "vector")
                return unit // each * panels.count + panels.holding(vector)

            from_panel = code.slot(panel_of(begin), "from")
            last = code.slot(panel_of(end - i64(1)) + i64(1), "last")
            with code.loop(last - from_panel, "turn") as turn:
                number = code.slot(from_panel + turn, "number")
                matrix = code.slot(number // panels.count, "matrix")
                at = unravel(code, matrix, factors.batch)
                first, count = panels.locate(number % panels.count)
                self._pack(base, at, first, count)
                task = code.slot(matrix * each + first * blocks.count, "task")

                def blocks_before(unit: Any, task: Any = task, count: Any = count) -> Any:
                    return (tirx.max(unit - task, i64(0)) + count - i64(1)) // count

                low = code.slot(blocks_before(begin), "low")
                high = code.slot(tirx.min(blocks_before(end), blocks.count), "high")
                rows = partial(self._rows, blocks, base, at, first, low, high)
                by_rows(code, count, self.most, rows, self.least[1])

    def _start(self, vector: Any) -> Any:
        """The first column of a vector."""
        lanes = i64(self.lanes)
        return self.code.slot(tirx.min(vector * lanes, self.factors.n - lanes), "start")

    def _pack(self, base: Any, at: Sequence[Any], first: Any, count: Any) -> None:
        """Copy some vectors of every row of the second operand, side by side."""
        code, b, k, lanes = self.code, self.factors.b, self.factors.k, self.lanes
        stride = code.slot(count * i64(lanes), "stride")

        def place(i: Any, v: Any) -> Any:
            return ramp(base + i * stride + v * i64(lanes), lanes)

        def squares() -> None:
            rows = [code.register(lanes, "square", n) for n in range(lanes)]
            blocks = (k + i64(lanes - 1)) // i64(lanes)
            with code.loop(count, "v") as v:
                start = self._start(first + v)
                with code.loop(blocks, "block") as block:
                    i = code.slot(tirx.min(block * i64(lanes), k - i64(lanes)), "i")
                    for n, register in enumerate(rows):
                        column = b.at(at, ramp(i, lanes), start + i64(n))
                        code.store(register, column, ramp(0, lanes))
                    transpose(code, rows)
                    for n, register in enumerate(rows):
                        code.store(self.scratch, register[ramp(0, lanes)], place(i + i64(n), v))

        def one_by_one() -> None:
            with code.loop(count, "v") as v:
                start = self._start(first + v)
                with code.loop(k, "i") as i, code.loop(lanes, "n") as n:
                    where = base + i * stride + v * i64(lanes) + n
                    code.store(self.scratch, b.at(at, i, start + n), where)

        def copy() -> None:
            with code.loop(k, "i") as i, code.loop(count, "v") as v:
                column = ramp(self._start(first + v), lanes)
                code.store(self.scratch, b.at(at, i, column), place(i, v))

        if b.turned:
            code.branch([(k >= i64(lanes), squares), (None, one_by_one)])
        else:
            copy()

    def _rows(
        self,
        blocks: EvenBlocks,
        base: Any,
        at: Sequence[Any],
        first: Any,
        low: Any,
        high: Any,
        vectors: int,
    ) -> None:
        """The blocks of rows from `low` to `high` times a panel of some vectors."""
        code, factors = self.code, self.factors
        shape = Shape(ROWS, vectors, self.lanes)
        starts = [self._start(first + i64(v)) for v in range(vectors)]
        with code.loop(high - low, "block") as block:
            row, rows = blocks.locate(low + block)

            def versions(widths: Widths, done: Callable[[Registers], None]) -> None:
                def fill(height: int) -> None:
                    registers = Registers(code, height, widths)
                    registers.run(
                        int(factors.k) if isinstance(factors.k, tirx.IntImm) else factors.k,
                        lambda r, i: factors.a.at(at, row + i64(r), i),
                        lambda offset, size, i: self.scratch[
                            ramp(base + i * i64(shape.columns) + i64(offset), size)
                        ],
                    )
                    done(registers)

                by_rows(code, rows, ROWS, fill, self.least[0])

            def lead(r: Any) -> Sequence[Any]:
                return *at, row + r

            panels = Panels(shape.columns, shape)
            output = Output(factors.group, panels, i64(0), rows, lead, starts, factors.crossed)
            output.write(code, versions, steps(factors))


def steps(factors: Product) -> int:
    """What `Output` is told of the reduction's length: without an epilogue a store from the
    registers is no more code than one to the stack."""
    if factors.group.result.same_as(factors.group.output):
        return 0
    return int(factors.k) if isinstance(factors.k, tirx.IntImm) else SHORT + 1
