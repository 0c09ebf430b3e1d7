"""Steps of some rows in one direction: products by register tile, then the equations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.kernel import Code, EvenBlocks, f32, i64, ramp, splat
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.panels import by_rows
from tvm_sod2.schedules.recurrent_bytes import ByteRange
from tvm_sod2.schedules.recurrent_cell import Activation, Value
from tvm_sod2.schedules.recurrent_division import Stretch
from tvm_sod2.schedules.recurrent_equations import Equations
from tvm_sod2.schedules.recurrent_operands import Operands
from tvm_sod2.schedules.recurrent_weights import segments


@dataclass(frozen=True)
class _Tile:
    """Columns of a phase's gates, a vector each: the first, their weights' place when packed, and
    for each gate the stack buffer that takes its products, a vector for each row of a block."""

    phase: int
    gates: tuple[int, ...]
    column: Any
    width: int
    at: Any
    sums: Sequence[Any]


class Walk:
    """Steps of some rows in one direction; the operands of the row and step being written."""

    def __init__(
        self,
        code: Code,
        operands: Operands,
        direction: Any,
        activations: Sequence[Activation],
        start: Any,
        rows: Any,
    ) -> None:
        self.code, self.operands, self.cell = code, operands, operands.cell
        self.direction, self.activations = direction, activations
        self.start, self.rows = start, rows

    def begin(self) -> None:
        """Take the first states."""
        code, operands = self.code, self.operands
        with code.loop(self.rows, "r") as r:
            self._at(self.start + r, i64(0))
            for column in self._columns():
                self._put(0, column, operands.first_h[self.direction, self.row, column])
                if self.cell.kind == "LSTM":
                    first = operands.first_c[self.direction, self.row, column]
                    self.keep_cell_state(first, column)

    def run(self, stretch: Stretch, tiles: tuple[Any, Any]) -> None:
        """Go through some steps, in the tiles [begin, end) of columns."""
        code, cell = self.code, self.cell
        with code.bank():
            blocks = EvenBlocks(code, self.rows, self.operands.most)
            with code.loop(stretch.count, "later") as later:
                step = code.slot(stretch.first + later, "step")
                self.side = code.slot(step % 2, "side")
                if cell.rounds:
                    self._round(step)
                for phase in range(len(cell.phases)):
                    write = partial(self._phase, phase, step, blocks, tiles)
                    if len(cell.phases) == 1:
                        write()
                    else:
                        wanted = tirx.any(stretch.phase < i64(0), stretch.phase.equal(i64(phase)))
                        code.branch([(wanted, write)])

    def end(self) -> None:
        """Give the last states; behind the end of a row that has one of its own, zeros."""
        code, operands, cell = self.code, self.operands, self.cell
        with code.loop(self.rows, "r") as r:
            self._at(self.start + r, i64(0))
            side = code.slot(operands.steps % 2, "side")
            for column in self._columns():
                last = self._state(self.row, side, column)
                code.store(operands.last_h, last, self.direction, self.row, column)
            if cell.lengths and cell.sequence:
                self._clear_behind()

    def _round(self, step: Any) -> None:
        """The rounded states of all rows, put where the products read them."""
        code, operands = self.code, self.operands
        found = ByteRange(code, self.cell.hidden, operands.lanes)
        with code.loop(self.rows, "r") as r:
            self._at(self.start + r, step)
            widen = partial(found.widen, self.old_state)
            if self.cell.lengths:  # A row that ended before the last step counts no more.
                code.branch([(step <= self.length, widen)])
            else:
                widen()
        found.settle()
        with code.loop(self.rows, "r") as r:
            self._at(self.start + r, step)
            for column in self._columns():
                self.keep_aside(found.rounded(self.old_state(column)), 0, column)

    def _phase(self, phase: int, step: Any, blocks: EvenBlocks, tiles: tuple[Any, Any]) -> None:
        """One step of the gates of a phase, for some tiles of columns and all rows."""
        code, cell, operands = self.code, self.cell, self.operands
        gates = cell.phases[phase]
        sums = [code.buffer(operands.most * operands.lanes, f"gate{gate}") for gate in gates]
        done = sum(len(earlier) for earlier in cell.phases[:phase]) * cell.hidden
        before, (tiles_begin, tiles_end) = 0, tiles
        for start, count, width in segments(cell.hidden, operands.lanes):
            first = code.slot(tirx.max(tiles_begin - i64(before), i64(0)), "first_tile")
            mine = tirx.min(tiles_end - i64(before), i64(count)) - first
            before += count
            with (
                code.loop(tirx.max(mine, i64(0)), "tile") as number,
                code.loop(blocks.count, "block") as block,
            ):
                column = code.slot(i64(start) + (first + number) * i64(width), "column")
                at = i64(done * cell.hidden) + column * i64(cell.hidden * len(gates))
                tile = _Tile(phase, gates, column, width, code.slot(at, "at"), sums)
                self._tile(tile, step, *blocks.locate(block))

    def _tile(self, tile: _Tile, step: Any, begin: Any, rows: Any) -> None:
        """One step of the gates of a tile, for the rows of a block that begins there."""
        code, cell = self.code, self.cell
        begin = code.slot(self.start + begin, "begin")
        products = partial(self._products, tile, begin, rows)
        if cell.from_zero:
            nothing = partial(self._no_products, tile, rows)
            code.branch([(step > i64(0), products), (None, nothing)])
        else:
            products()
        with code.loop(rows, "r") as r:
            self._at(begin + r, step)
            cells = partial(self._cells, tile, r)
            if cell.lengths:
                keep = partial(self._keep_old, tile)
                code.branch([(step < self.length, cells), (None, keep)])
            else:
                cells()

    def _products(self, tile: _Tile, begin: Any, rows: Any) -> None:
        code, most = self.code, self.operands.most
        if tile.width == self.operands.lanes:
            by_rows(code, rows, most, partial(self._product, tile, begin, i64(0)))
        else:  # Few columns are worth no code for each number of rows.
            with code.loop(rows, "r") as r:
                self._product(tile, begin, r, 1)

    def _no_products(self, tile: _Tile, rows: Any) -> None:
        zero = splat(f32(0.0), tile.width)
        with self.code.loop(rows, "r") as r:
            for total in tile.sums:
                self.code.store(total, zero, ramp(r * i64(self.operands.lanes), tile.width))

    def _product(self, tile: _Tile, begin: Any, start: Any, rows: int) -> None:
        """The product of the states of `rows` rows, from `start` in the block that `begin`s there,
        with a tile of weights, put on the stack."""
        cell, operands = self.cell, self.operands
        stride = len(tile.gates) * tile.width

        def weight(offset: int, size: int, k: Any) -> Value:
            if operands.packed:
                at = tile.at + k * i64(stride) + i64(offset)
                return operands.weight[self.direction, ramp(at, size)]
            gate = tile.gates[offset // tile.width]
            return operands.weight[
                self.direction, k, ramp(tile.column + i64(gate * cell.hidden), size)
            ]

        def state(r: int, k: Any) -> Value:
            row = begin + start + i64(r)
            if tile.phase == 1:
                return operands.scratch[self.direction, row, i64(3 * cell.hidden) + k]
            if cell.rounds:
                return operands.scratch[self.direction, row, i64(2 * cell.hidden) + k]
            return self._state(row, self.side, k)

        registers = Registers(self.code, rows, (tile.width,) * len(tile.gates))
        registers.run(cell.hidden, state, weight)
        for r, offset, size, total in registers.totals():
            place = ramp((start + i64(r)) * i64(operands.lanes), size)
            self.code.store(tile.sums[offset // tile.width], total[ramp(0, size)], place)

    def _cells(self, tile: _Tile, r: Any) -> None:
        with self.code.vector(tile.width) as lane:
            sums = [total[r * i64(self.operands.lanes) + lane] for total in tile.sums]
            equations = Equations(self, self.activations)
            equations.write(tile.phase, tile.width, lane, tile.column + lane, sums)

    def _keep_old(self, tile: _Tile) -> None:
        """A row that has ended: its state stays."""
        if tile.phase == len(self.cell.phases) - 1:
            with self.code.vector(tile.width) as lane:
                column = tile.column + lane
                self._put(i64(1) - self.side, column, self.old_state(column))

    def _clear_behind(self) -> None:
        code, operands = self.code, self.operands
        with code.loop(operands.steps - self.length, "behind") as behind:
            for column in self._columns():
                time = self.length + behind
                code.store(operands.y, f32(0.0), time, self.direction, self.row, column)

    def _at(self, row: Any, step: Any) -> None:
        """Turn to a row at a step."""
        code, operands, cell = self.code, self.operands, self.cell
        self.row = code.slot(row, "row")
        self.length = operands.steps
        if cell.lengths:
            given = tirx.Cast("int64", operands.lengths[self.row])
            self.length = code.slot(tirx.max(tirx.min(given, operands.steps), i64(0)), "length")
        back = self.length - i64(1) - step
        if len(cell.reverse) == 1:
            time = back if cell.reverse[0] else step
        else:  # ONNX knows no pair but forward and back
            time = tirx.Select(self.direction.equal(i64(1)), back, step)
        self.time = code.slot(time, "time")

    def _columns(self) -> Iterator[Any]:
        """Opens the code for all columns, a vector at a time."""
        for start, count, width in segments(self.cell.hidden, self.operands.lanes):
            with self.code.loop(i64(count), "tile") as tile, self.code.vector(width) as lane:
                yield i64(start) + tile * i64(width) + lane

    def _state(self, row: Any, side: Any, column: Any) -> Value:
        at = i64(side) * i64(self.cell.hidden) + column
        return self.operands.scratch[self.direction, row, at]

    def _put(self, side: Any, column: Any, value: Value) -> None:
        at = i64(side) * i64(self.cell.hidden) + column
        self.code.store(self.operands.scratch, value, self.direction, self.row, at)

    # What the equations read and write.

    def projected(self, gate: int, column: Any) -> Value:
        start = (self.direction * i64(self.cell.gates) + i64(gate)) * i64(self.cell.hidden)
        return self.operands.x[self.time, self.row, start + column]

    def candidate_bias(self, column: Any) -> Value:
        return self.operands.bias[self.direction, column]

    def peephole(self, number: int, column: Any) -> Value:
        return self.operands.peepholes[self.direction, i64(number * self.cell.hidden) + column]

    def old_state(self, column: Any) -> Value:
        return self._state(self.row, self.side, column)

    def cell_state(self, column: Any) -> Value:
        return self.operands.last_c[self.direction, self.row, column]

    def keep_cell_state(self, value: Value, column: Any) -> None:
        self.code.store(self.operands.last_c, value, self.direction, self.row, column)

    def aside(self, number: int, column: Any) -> Value:
        at = i64((2 + number) * self.cell.hidden) + column
        return self.operands.scratch[self.direction, self.row, at]

    def keep_aside(self, value: Value, number: int, column: Any) -> None:
        at = i64((2 + number) * self.cell.hidden) + column
        self.code.store(self.operands.scratch, value, self.direction, self.row, at)

    def keep_state(self, value: Value, column: Any) -> None:
        operands = self.operands
        self._put(i64(1) - self.side, column, value)
        if self.cell.sequence:
            kept = self._state(self.row, i64(1) - self.side, column)
            self.code.store(operands.y, kept, self.time, self.direction, self.row, column)
