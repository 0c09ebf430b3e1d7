"""The equations of ONNX's operators LSTM, GRU and RNN for some columns of one row at one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tvm import tirx

from tvm_sod2.schedules.kernel import Code, f32
from tvm_sod2.schedules.recurrent_cell import Activation, Cell, Value


class Memory(Protocol):
    """Where a step's operands lie: one element each, by its column or by its place in the row."""

    code: Code
    cell: Cell

    def projected(self, gate: int, column: Any) -> Value: ...

    def candidate_bias(self, column: Any) -> Value: ...

    def peephole(self, number: int, column: Any) -> Value: ...

    def old_state(self, column: Any) -> Value: ...

    def cell_state(self, column: Any) -> Value: ...

    def keep_cell_state(self, value: Value, column: Any) -> None: ...

    def aside(self, number: int, column: Any) -> Value: ...

    def keep_aside(self, value: Value, number: int, column: Any) -> None: ...

    def keep_state(self, value: Value, column: Any) -> None: ...


class Equations:
    """Writes what follows the products of a phase, for one vector of columns.

    column: the first lane's column; lane: counts inside the vector; sums: for each gate of the
    phase, the product of the state with its weights.
    """

    def __init__(self, memory: Memory, activations: Sequence[Activation]) -> None:
        self.memory, self.code, self.cell = memory, memory.code, memory.cell
        self.activations = activations

    def write(self, phase: int, lanes: int, lane: Any, column: Any, sums: Sequence[Value]) -> None:
        self.place: tuple[int, Any, int] = lanes, lane, 0  # and the number of the next name
        if self.cell.kind == "LSTM":
            self._lstm(column, sums)
        elif self.cell.kind == "RNN":
            self._rnn(column, sums)
        elif self.cell.linear_before_reset:
            self._gru_at_once(column, sums)
        else:
            (self._gru_gates, self._gru_candidate)[phase](column, sums)

    def _lstm(self, column: Any, sums: Sequence[Value]) -> None:
        memory = self.memory
        act_f, act_g, act_h = self.activations
        i, o, f, c = (total + memory.projected(g, column) for g, total in enumerate(sums))

        def gate(value: Value, number: int, state: Value) -> Value:
            if self.cell.peepholes:
                value = value + memory.peephole(number, column) * state
            return self._named(act_f(self._clip(value)))

        before = memory.cell_state(column)
        enter = gate(i, 0, before)
        forget = f32(1.0) - enter if self.cell.input_forget else gate(f, 2, before)
        candidate = self._named(act_g(self._clip(c)))
        state = self._named(forget * before + enter * candidate)
        out = gate(o, 1, state)
        memory.keep_cell_state(state, column)
        memory.keep_state(out * act_h(state), column)

    def _rnn(self, column: Any, sums: Sequence[Value]) -> None:
        (act_f,) = self.activations
        entered = self._clip(sums[0] + self.memory.projected(0, column))
        self.memory.keep_state(act_f(entered), column)

    def _gru_at_once(self, column: Any, sums: Sequence[Value]) -> None:
        memory = self.memory
        act_f, act_g = self.activations
        update, reset = (
            self._named(act_f(self._clip(sums[gate] + memory.projected(gate, column))))
            for gate in (0, 1)
        )
        product = sums[2] + memory.candidate_bias(column)
        entered = memory.projected(2, column) + reset * product
        self._merge(column, update, self._named(act_g(self._clip(entered))))

    def _gru_gates(self, column: Any, sums: Sequence[Value]) -> None:
        memory = self.memory
        act_f = self.activations[0]
        update, reset = (
            act_f(self._clip(total + memory.projected(gate, column)))
            for gate, total in enumerate(sums)
        )
        memory.keep_aside(update, 0, column)
        memory.keep_aside(self._named(reset) * memory.old_state(column), 1, column)

    def _gru_candidate(self, column: Any, sums: Sequence[Value]) -> None:
        memory = self.memory
        entered = self._clip(sums[0] + memory.projected(2, column))
        candidate = self._named(self.activations[1](entered))
        self._merge(column, memory.aside(0, column), candidate)

    def _merge(self, column: Any, update: Value, candidate: Value) -> None:
        old = self.memory.old_state(column)
        self.memory.keep_state((f32(1.0) - update) * candidate + update * old, column)

    def _named(self, value: Value) -> Value:
        """The value through a register: TVM would repeat its expression at each use."""
        lanes, lane, number = self.place
        self.place = lanes, lane, number + 1
        register = self.code.register(lanes, "named", number)
        self.code.store(register, value, lane)
        return register[lane]

    def _clip(self, value: Value) -> Value:
        if self.cell.clip is None:
            return value
        return tirx.max(tirx.min(value, f32(self.cell.clip)), f32(-self.cell.clip))
