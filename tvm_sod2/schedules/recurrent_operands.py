"""The parameters of a recurrent kernel, and the shape of its register tile."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from tvm_sod2.schedules.kernel import i64
from tvm_sod2.schedules.recurrent_cell import Cell
from tvm_sod2.schedules.traits import Traits

_BLOCKS = 4  # blocks of rows in a task whose weights come from beyond the second-level cache


class Operands:
    """The buffers of `recurrent_kernel`, by name.

    Attributes:
        params: all of them in order.
        packed: whether the weights are laid out as `pack_weights` does.
        lanes: columns of a tile.
        most: rows of a tile at most.
        blocks: blocks of rows that a task takes where there are more rows than cores need.
    """

    def __init__(self, cell: Cell, traits: Traits, packed: bool) -> None:
        self.cell, self.packed, self.cores = cell, packed, traits.cores
        self.lanes = traits.lanes("float32")
        gates = max(len(phase) for phase in cell.phases)
        # Beside the accumulators: a vector of each gate's weights, and the state's element.
        self.most = max(1, min(12, (traits.vector_registers - gates - 2) // gates))
        directions, hidden = len(cell.reverse), cell.hidden
        width = cell.gates * hidden
        self.blocks = _BLOCKS if 4 * width * hidden > traits.l2_bytes // 2 else 1
        self.steps, self.rows = tirx.Var("steps", "int64"), tirx.Var("rows", "int64")
        self.params: list[Any] = []
        states = [directions, self.rows, hidden]
        self.x = self._param("projected", [self.steps, self.rows, directions * width])
        dims = [directions, hidden * width] if packed else [directions, hidden, width]
        self.weight = self._param("weight", dims)
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
