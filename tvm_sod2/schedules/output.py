"""What becomes of a finished tile: the epilogue, and the store to dense activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, i64, ramp
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.panels import Panels, Shape, Widths, pieces, widths

# Up to this many steps of the reduction, passing a tile through the stack costs over 3 percent.
SHORT = 128


class Tile:
    """A tile on the stack, one buffer for each column of vectors: TVM's limit is 1024 bytes."""

    def __init__(self, code: Code, shape: Shape, dtype: str = "float32") -> None:
        self.code, self.shape = code, shape
        self.parts = [
            code.buffer(shape.rows * shape.lanes, f"tile{v}", dtype) for v in range(shape.vectors)
        ]

    def put(self, registers: Registers) -> None:
        """Store finished sums."""
        for r, offset, width, total in registers.totals():
            part, lane = divmod(offset, self.shape.lanes)
            at = ramp(r * self.shape.lanes + lane, width)
            self.code.store(self.parts[part], total[ramp(0, width)], at)


# Writes all versions for some vectors and calls its second argument when one's sums are ready.
Versions = Callable[[Widths, Callable[[Registers], None]], None]


@dataclass(frozen=True)
class Output:
    """Where a tile's elements go.

    Attributes:
        rows: run-time number of rows.
        at: the leading output indices of a row.
        start: the output column of the panel's column 0; or of each vector's, in a list.
        crossed: whether rows are the output's last axis and columns the one before.
    """

    group: Group
    panels: Panels
    panel: Any
    rows: Any
    at: Callable[[Any], Sequence[Any]]
    start: Any
    crossed: bool = False

    def write(self, code: Code, versions: Versions, steps: int, exact: bool = False) -> None:
        """Write the versions of a tile that sums up `steps` products, and what follows them.

        Either each version applies the epilogue to its registers (little overhead, much code), or
        all put their sums on the stack, where one loop over rows applies it. The vectors of the
        last panel may reach beyond its columns, unless `exact`.
        """
        shape = self.panels.shape
        columns, rest = shape.columns, self.panels.n % shape.columns
        full, tail = shape.whole, widths(rest, shape.lanes)
        if exact:
            tail = tuple(width for _, width in pieces(rest, shape.lanes))
        choose = self.panels.choose
        if steps <= SHORT and self.group.light():

            def both(vectors: Widths, count: int) -> None:
                versions(vectors, lambda registers: self._from_registers(registers, count))

            choose(code, self.panel, (full, columns), (tail, rest), lambda pair: both(*pair))
            return
        tile = Tile(code, shape, str(self.group.result.dtype))
        choose(code, self.panel, full, tail, lambda vectors: versions(vectors, tile.put))
        choose(code, self.panel, columns, rest, lambda count: self._from_stack(code, tile, count))

    def _from_registers(self, registers: Registers, columns: int) -> None:
        code = registers.code

        def put(r: int, offset: int, width: int, total: Any) -> None:
            lead = self.at(i64(r))
            for first, size in pieces(min(columns - offset, width), width):
                with code.vector(size) as lane:
                    self._store(code, total[i64(first) + lane], lead, offset + first, lane)

        for r, *vector in registers.totals():
            if registers.used is None:
                put(r, *vector)
            else:
                code.branch([(i64(r) < registers.used, partial(put, r, *vector))])

    def _from_stack(self, code: Code, tile: Tile, columns: int) -> None:
        lanes = self.panels.shape.lanes
        with code.loop(self.rows, "r") as r:
            lead = self.at(r)
            for first, size in pieces(columns, lanes):
                part, offset = divmod(first, lanes)
                with code.vector(size) as lane:
                    value = tile.parts[part][r * i64(lanes) + i64(offset) + lane]
                    self._store(code, value, lead, first, lane)

    def _store(self, code: Code, value: Any, lead: Sequence[Any], offset: int, lane: Any) -> None:
        if isinstance(self.start, list):
            vector, offset = divmod(offset, self.panels.shape.lanes)
            column = self.start[vector] + i64(offset) + lane
        else:
            column = self.start + (i64(offset) + lane)
        index = [*lead[:-1], column, lead[-1]] if self.crossed else [*lead, column]
        code.store(self.group.output, self.group.stored(value, index), *index)
