"""LSTM, GRU and RNN cells over time as one kernel; the input's projection comes ready from a GEMM.

At each step columns of the hidden state go in tiles of one vector, and the product for all gates of
a tile and a block of rows is one register tile. So the weights, of which there is more than of
anything else, are read once a step for all rows of a task; constant ones are laid out in the order
of reading. The state of the step before is read while the new one is written, hence two of them, in
turn. What a task is, `recurrent_division.py` says.

Source: the equations of ONNX's operators LSTM, GRU and RNN.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.grain import MOVED
from tvm_sod2.schedules.kernel import Code, Kernel, i64
from tvm_sod2.schedules.recurrent_cell import Cell
from tvm_sod2.schedules.recurrent_division import Division
from tvm_sod2.schedules.recurrent_operands import Operands
from tvm_sod2.schedules.recurrent_walk import Walk
from tvm_sod2.schedules.recurrent_weights import pack_weights
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.work import WORK, note

CELL = "sod2.cell"
"""Function attribute: the cell, as JSON, of a kernel that is to be written for the target."""

_WEIGHT = 1  # position of the weights among the parameters


def recurrent_kernel(cell: Cell) -> tirx.PrimFunc:
    """The kernel, for any number of steps T and rows B; D directions, G gates, H hidden.

    Parameters: projected input with all biases that may be added there (T, B, D * G * H); weights
    (D, H, G * H), the state's axis first; for GRU with linear_before_reset the candidate's own
    bias (D, H); peepholes (D, 3 * H); lengths (B,) int32; first h, and for LSTM first c, (D, B, H).
    Results: states of all steps (T, D, B, H), zero behind a row's end; last h and c (D, B, H);
    scratch (D, B, cell.scratch).

    It runs anywhere; `emit_recurrent` writes it anew for a target.
    """
    plain = Traits(16, 16, False, 32 << 10, 256 << 10, 1)
    return _function(Operands(cell, plain, packed=False))


def emit_recurrent(func: tirx.PrimFunc, constants: frozenset[int], traits: Traits) -> Kernel:
    """The kernel of a function with the attribute `CELL` for a target, constant weights packed."""
    cell = Cell.from_json(func.attrs[CELL])
    operands = Operands(cell, traits, packed=_WEIGHT in constants)
    pack = {_WEIGHT: partial(pack_weights, cell, operands.lanes)} if operands.packed else {}
    made = _function(operands).without_attr(CELL)
    return Kernel(made, f"{cell.kind} over time, {operands.most} rows", pack)


def _function(operands: Operands) -> tirx.PrimFunc:
    code, cell = Code(), operands.cell
    division = Division(code, operands)
    states = operands.rows * i64(len(cell.reverse) * cell.hidden * MOVED)

    def walk(task: Any, write: Callable[[Walk], None]) -> None:
        """Write what a task does at its rows, in the direction that is its own."""
        direction, start, rows = division.rows_of(task)
        forward, *back = dict.fromkeys(cell.activations)
        walks = [
            partial(write, Walk(code, operands, direction, activations, start, rows))
            for activations in (forward, *back)
        ]
        if back:
            code.branch([(direction.equal(i64(0)), walks[0]), (None, walks[1])])
        else:
            walks[0]()

    with code.tasks(division.groups, "task", states) as task:
        walk(task, Walk.begin)
    with code.loop(division.turns, "turn") as turn:
        stretch = division.stretch(turn)
        with code.tasks(division.tasks, "task", division.work(turn)) as task:
            tiles = division.tiles_of(task)
            walk(task, lambda made: made.run(stretch, tiles))
    cleared = operands.steps if cell.lengths and cell.sequence else i64(1)
    with code.tasks(division.groups, "task", states * cleared) as task:
        walk(task, Walk.end)
    func = tirx.PrimFunc(operands.params, code.body())
    return func.with_attrs(
        {
            "tirx.noalias": True,
            "tirx.is_scheduled": True,
            "sod2.kernel": f"{cell.kind} over time",
            WORK: note(cell.kind, division.multiplications * i64(2), operands.params),
            CELL: cell.to_json(),
        }
    )
