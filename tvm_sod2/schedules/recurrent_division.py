"""The tasks of a recurrent kernel: rows that walk through time alone, or columns of each step.

Rows of the batch do not know of each other, so a task takes some of them through all steps. Where
directions and blocks of rows are fewer than threads, the threads share the columns of the state
instead, and wait for each other after every phase of every step: if a step is worth that.

    by rows:     for one turn:                      by columns:  for turn in steps x phases:
                     tasks: rows x directions                        tasks: directions x columns
                         for step in steps: ...                          one phase of one step
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.grain import GRAIN
from tvm_sod2.schedules.kernel import Code, EvenBlocks, i64
from tvm_sod2.schedules.recurrent_operands import Operands
from tvm_sod2.schedules.recurrent_weights import segments

_WORTH = 2 * GRAIN
"""What all steps must hold for threads to share a block of rows."""

_WEIGHTS_AS_ROWS = 3
"""Reading the weights takes as long as multiplying them with so many rows."""


@dataclass(frozen=True)
class Stretch:
    """The steps `[first, first + count)`, in all phases or, where it is not negative, in one."""

    first: Any
    count: Any
    phase: Any


class Division:
    """Decides from the dims and the number of threads, before the tasks.

    Attributes:
        multiplications: of all steps.
        groups: tasks that take rows through time, in all directions.
        turns: how often tasks are dealt out.
        tasks: of a turn.
    """

    def __init__(self, code: Code, operands: Operands) -> None:
        cell = operands.cell
        self.code, self.phases = code, len(cell.phases)
        self.directions = i64(len(cell.reverse))
        self.units = sum(count for _, count, _ in segments(cell.hidden, operands.lanes))
        rows, one = operands.rows, i64(1)
        weights = self.directions * i64(cell.gates * cell.hidden**2)
        self.multiplications = operands.steps * rows * weights
        threads = _threads(code, operands.cores)

        def blocks(most: Any) -> Any:
            return (rows + most - one) // most

        # Few rows a task keep the threads busy, many share what is read of the weights.
        whole = blocks(i64(operands.most))
        step = weights * (rows + i64(_WEIGHTS_AS_ROWS))
        alone = tirx.any(threads.equal(one), whole * self.directions >= threads, step < GRAIN)
        self.by_rows = code.slot(tirx.Select(alone, one, i64(0)), "by_rows").equal(one)
        each = code.slot((threads + self.directions - one) // self.directions, "each")
        split = tirx.Select(self.multiplications >= _WORTH, tirx.min(rows, each), one)
        parted = tirx.max(tirx.min(whole, threads), split)
        count = tirx.max(blocks(i64(operands.most * operands.blocks)), parted)
        count = (count + each - one) // each * each  # As many for each thread.
        if cell.rounds:  # Rows that are rounded together walk together.
            self.by_rows, count = tirx.const(True), one
        count = code.slot(self._if_by_rows(tirx.max(count, one), one), "tasks")
        self._rows = EvenBlocks(code, rows, code.slot(tirx.max(blocks(count), one), "most"))
        self.groups = self._rows.count * self.directions
        self._parts = code.slot(self._if_by_rows(one, tirx.min(threads, i64(self.units))), "parts")
        self.turns = self._if_by_rows(one, operands.steps * i64(self.phases))
        self._steps = self._if_by_rows(operands.steps, one)
        self.tasks = self._if_by_rows(self.groups, self._parts * self.directions)
        self._step, self._from_zero = step, cell.from_zero

    def _if_by_rows(self, then: Any, otherwise: Any) -> Any:
        return tirx.Select(self.by_rows, then, otherwise)

    def stretch(self, turn: Any) -> Stretch:
        """The steps of a turn."""
        first = self._if_by_rows(i64(0), turn // i64(self.phases))
        phase = self._if_by_rows(i64(-1), turn % i64(self.phases))
        return Stretch(self.code.slot(first, "first"), self._steps, self.code.slot(phase, "phase"))

    def work(self, turn: Any) -> Any:
        """The work of the tasks of a turn, see grain.py."""
        read = turn >= i64(self.phases) if self._from_zero else tirx.const(True)
        return self._if_by_rows(self.multiplications, tirx.Select(read, self._step, i64(0)))

    def rows_of(self, task: Any) -> tuple[Any, Any, Any]:
        """The direction of a task, and start and number of its rows."""
        direction = self.code.slot(task % self.directions, "direction")
        group = self._if_by_rows(task // self.directions, i64(0))
        return direction, *self._rows.locate(self.code.slot(group, "group"))

    def tiles_of(self, task: Any) -> tuple[Any, Any]:
        """The tiles of columns [begin, end) that a task of a turn takes."""
        part = self.code.slot(self._if_by_rows(i64(0), task // self.directions), "part")
        begin = part * i64(self.units) // self._parts
        end = (part + i64(1)) * i64(self.units) // self._parts
        return self.code.slot(begin, "tiles_begin"), self.code.slot(end, "tiles_end")


def _threads(code: Code, cores: int) -> Any:
    """How many threads TVM's runtime has, where the target has several cores."""
    if cores == 1:
        return i64(1)
    call = tirx.call_packed("runtime.NumThreads")
    return code.slot(tirx.Cast("int64", call), "threads")
