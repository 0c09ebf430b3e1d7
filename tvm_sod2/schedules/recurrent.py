"""LSTM, GRU and RNN cells over time as one kernel; the input's projection comes ready from a GEMM.

A task is one row of the batch in one direction; it walks through time alone. Columns of the hidden
state go in tiles: all gates of a tile are in registers when its cell is computed, so that the state
is read and written once a step. The state of the step before is read while the new one is written,
hence two of them, taken in turn.

Source: the equations of ONNX's operators LSTM, GRU and RNN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tvm import tirx
from tvm.tirx import ForKind

from tvm_sod2.schedules.kernel import Code, f32, i64, ramp, splat
from tvm_sod2.schedules.recurrent_cell import Cell, Value

_LANES = 16
_SUMS = 8  # accumulators in flight: they hide the latency of FMA


def recurrent_kernel(cell: Cell) -> tirx.PrimFunc:
    """The kernel, for any number of steps T and rows B; D directions, G gates, H hidden.

    Parameters: projected input with all biases that may be added there (T, B, D * G * H); weights
    (D, H, G * H), the state's axis first; for GRU with linear_before_reset the candidate's own
    bias (D, H); peepholes (D, 3 * H); lengths (B,) int32; first h, and for LSTM first c, (D, B, H).
    Results: states of all steps (T, D, B, H), zero behind a row's end; last h and c (D, B, H);
    scratch (D, B, cell.scratch).
    """
    return _Writer(cell).function()


class _Writer:
    def __init__(self, cell: Cell) -> None:
        self.cell, self.code = cell, Code()
        self.steps, self.rows = tirx.Var("steps", "int64"), tirx.Var("rows", "int64")
        directions, hidden = len(cell.reverse), cell.hidden
        width = cell.gates * hidden
        self.params: list[Any] = []
        states = [directions, self.rows, hidden]
        self.x = self._param("projected", [self.steps, self.rows, directions * width])
        self.weight = self._param("weight", [directions, hidden, width])
        if cell.linear_before_reset:
            self.bias = self._param("candidate_bias", [directions, hidden])
        if cell.peepholes:
            self.peepholes = self._param("peepholes", [directions, 3 * hidden])
        if cell.lengths:
            self.lengths = self._param("lengths", [self.rows], "int32")
        self.first_h = self._param("first_h", states)
        if cell.kind == "LSTM":
            self.first_c = self._param("first_c", states)
        if cell.sequence:
            self.y = self._param("y", [self.steps, directions, self.rows, hidden])
        self.last_h = self._param("last_h", states)
        if cell.kind == "LSTM":
            self.last_c = self._param("last_c", states)
        self.scratch = self._param("scratch", [directions, self.rows, cell.scratch])

    def _param(self, name: str, shape: list[Any], dtype: str = "float32") -> Any:
        made = tirx.decl_buffer([i64(dim) for dim in shape], dtype, name, layout=None)
        self.params.append(made)
        return made

    def function(self) -> tirx.PrimFunc:
        code, directions = self.code, len(self.cell.reverse)
        with code.loop(self.rows * i64(directions), "task", ForKind.PARALLEL) as task:
            row = code.slot(task // i64(directions), "row")
            direction = code.slot(task % i64(directions), "direction")
            if directions == 1:
                self._walk(0, row)
            else:
                code.branch(
                    [
                        (direction == i64(0), lambda: self._walk(0, row)),
                        (None, lambda: self._walk(1, row)),
                    ]
                )
        func = tirx.PrimFunc(self.params, code.body())
        return func.with_attrs(
            {
                "tirx.noalias": True,
                "tirx.is_scheduled": True,
                "sod2.kernel": f"{self.cell.kind} over time",
            }
        )

    def _walk(self, direction: int, row: Any) -> None:
        """All steps of one row."""
        code, cell = self.code, self.cell
        with code.bank():
            length = self.steps
            if cell.lengths:
                given = tirx.Cast("int64", self.lengths[row])
                length = code.slot(tirx.max(tirx.min(given, self.steps), i64(0)), "length")
            for at, width in self._tiles():
                with at as j, code.vector(width) as lane:
                    column = j + lane
                    self._keep(direction, row, 0, column, self.first_h[direction, row, column])
                    if cell.kind == "LSTM":
                        first = self.first_c[direction, row, column]
                        code.store(self.last_c, first, direction, row, column)
            with code.loop(length, "step") as step:
                time = length - i64(1) - step if cell.reverse[direction] else step
                _Step(self, direction, row, code.slot(time, "time"), code.slot(step % 2, "side"))
            for at, width in self._tiles():
                with at as j, code.vector(width) as lane:
                    last = self._state(direction, row, length % 2, j + lane)
                    code.store(self.last_h, last, direction, row, j + lane)
            if cell.lengths and cell.sequence:
                with code.loop(self.steps - length, "behind") as behind:
                    for at, width in self._tiles():
                        with at as j, code.vector(width) as lane:
                            code.store(self.y, f32(0.0), length + behind, direction, row, j + lane)

    def _state(self, direction: int, row: Any, side: Any, column: Any) -> Value:
        return self.scratch[i64(direction), row, side * i64(self.cell.hidden) + column]

    def _keep(self, direction: int, row: Any, side: Any, column: Any, value: Value) -> None:
        at = i64(side) * i64(self.cell.hidden) + column
        self.code.store(self.scratch, value, direction, row, at)

    def _tiles(self, vectors: int = 1) -> Iterator[tuple[Any, int]]:
        """Context managers that open the code for some columns, with the width of a tile each."""
        done = 0
        width = vectors * _LANES
        while done < self.cell.hidden:
            count = (self.cell.hidden - done) // width
            if count:
                yield _Columns(self.code, count, done, width), width
            done += count * width
            width //= 2


class _Columns:
    """A loop over tiles that gives the first column of each."""

    def __init__(self, code: Code, count: int, start: int, width: int) -> None:
        self.loop = code.loop(i64(count), "tile")
        self.start, self.width = start, width

    def __enter__(self) -> Any:
        return i64(self.start) + self.loop.__enter__() * i64(self.width)

    def __exit__(self, *error: Any) -> None:
        self.loop.__exit__(*error)


class _Step:
    """Writes one step of one row: `side` says which of the two states is the old one."""

    def __init__(self, writer: _Writer, direction: int, row: Any, time: Any, side: Any) -> None:
        self.writer, self.code, self.cell = writer, writer.code, writer.cell
        self.direction, self.row, self.time, self.side = direction, row, time, side
        self.activations = writer.cell.activations[direction]
        self.place: tuple[int, Any, int] = 1, i64(0), 0  # lanes, lane, number of the next name
        {"LSTM": self._lstm, "GRU": self._gru, "RNN": self._rnn}[self.cell.kind]()

    def _lstm(self) -> None:
        i, o, f, c = range(4)
        act_f, act_g, act_h = self.activations
        writer, hidden = self.writer, self.cell.hidden

        def cell(column: Any, sums: list[Value]) -> None:
            def peep(number: int, value: Value) -> Value:
                if not self.cell.peepholes:
                    return f32(0.0)
                at = i64(number * hidden) + column
                return writer.peepholes[i64(self.direction), at] * value

            before = writer.last_c[i64(self.direction), self.row, column]
            enter = self._named(act_f(self._clip(sums[i] + peep(0, before))))
            if self.cell.input_forget:
                forget: Value = f32(1.0) - enter
            else:
                forget = self._named(act_f(self._clip(sums[f] + peep(2, before))))
            candidate = self._named(act_g(self._clip(sums[c])))
            state = self._named(forget * before + enter * candidate)
            out = self._named(act_f(self._clip(sums[o] + peep(1, state))))
            self.code.store(writer.last_c, state, self.direction, self.row, column)
            self._result(column, out * act_h(state))

        self._tiled([i, o, f, c], self._old_state, self._projected, cell)

    def _gru(self) -> None:
        z, r, h = range(3)
        act_f, act_g = self.activations
        writer, hidden = self.writer, self.cell.hidden

        def merge(column: Any, update: Value, candidate: Value) -> None:
            old = self._old_state(column)
            self._result(column, (f32(1.0) - update) * candidate + update * old)

        if self.cell.linear_before_reset:

            def start(gate: int, column: Any) -> Value:
                if gate == h:
                    return writer.bias[i64(self.direction), column]
                return self._projected(gate, column)

            def cell(column: Any, sums: list[Value]) -> None:
                update = self._named(act_f(self._clip(sums[z])))
                reset = self._named(act_f(self._clip(sums[r])))
                entered = self._projected(h, column) + reset * sums[h]
                merge(column, update, self._named(act_g(self._clip(entered))))

            self._tiled([z, r, h], self._old_state, start, cell)
            return

        def aside(number: int, column: Any) -> tuple[Any, ...]:
            return i64(self.direction), self.row, i64(number * hidden) + column

        def gates(column: Any, sums: list[Value]) -> None:
            reset = self._named(act_f(self._clip(sums[1])))
            self.code.store(writer.scratch, act_f(self._clip(sums[0])), *aside(2, column))
            self.code.store(writer.scratch, reset * self._old_state(column), *aside(3, column))

        def candidate(column: Any, sums: list[Value]) -> None:
            value = self._named(act_g(self._clip(sums[0])))
            merge(column, writer.scratch[aside(2, column)], value)

        self._tiled([z, r], self._old_state, self._projected, gates)
        self._tiled([h], lambda k: writer.scratch[aside(3, k)], self._projected, candidate)

    def _rnn(self) -> None:
        (act_f,) = self.activations

        def cell(column: Any, sums: list[Value]) -> None:
            self._result(column, act_f(self._clip(sums[0])))

        self._tiled([0], self._old_state, self._projected, cell)

    def _tiled(
        self,
        gates: list[int],
        state: Callable[[Any], Value],
        start: Callable[[int, Any], Value],
        cell: Callable[[Any, list[Value]], None],
    ) -> None:
        """For each column: `start(gate)` plus the product of the state with the gate's weights."""
        code, hidden = self.code, self.cell.hidden
        for at, width in self.writer._tiles(max(1, _SUMS // len(gates))):
            lanes = min(width, _LANES)
            parts = [(g, part) for g in range(len(gates)) for part in range(width // lanes)]
            sums = {key: code.register(lanes, "sum", *key) for key in parts}
            with at as first:
                for g, part in parts:
                    with code.vector(lanes) as lane:
                        column = first + i64(part * lanes) + lane
                        code.store(sums[g, part], start(gates[g], column), lane)
                with code.loop(i64(hidden), "k") as k:
                    old = splat(state(k), lanes)
                    for g, part in parts:
                        column = first + i64(gates[g] * hidden + part * lanes)
                        weight = self.writer.weight[i64(self.direction), k, ramp(column, lanes)]
                        place = ramp(0, lanes)
                        code.store(sums[g, part], sums[g, part][place] + old * weight, place)
                for part in range(width // lanes):
                    with code.vector(lanes) as lane:
                        values = [sums[g, part][lane] for g in range(len(gates))]
                        self.place = lanes, lane, 0
                        cell(first + i64(part * lanes) + lane, values)

    def _named(self, value: Value) -> Value:
        """The value through a register: TVM would repeat its expression at each use."""
        lanes, lane, number = self.place
        self.place = lanes, lane, number + 1
        register = self.code.register(lanes, "named", number)
        self.code.store(register, value, lane)
        return register[lane]

    def _projected(self, gate: int, column: Any) -> Value:
        start = (self.direction * self.cell.gates + gate) * self.cell.hidden
        return self.writer.x[self.time, self.row, i64(start) + column]

    def _old_state(self, column: Any) -> Value:
        return self.writer._state(self.direction, self.row, self.side, column)

    def _clip(self, value: Value) -> Value:
        if self.cell.clip is None:
            return value
        return tirx.max(tirx.min(value, f32(self.cell.clip)), f32(-self.cell.clip))

    def _result(self, column: Any, value: Value) -> None:
        writer = self.writer
        new = i64(1) - self.side
        writer._keep(self.direction, self.row, new, column, value)
        if self.cell.sequence:
            kept = writer._state(self.direction, self.row, new, column)
            self.code.store(writer.y, kept, self.time, self.direction, self.row, column)
