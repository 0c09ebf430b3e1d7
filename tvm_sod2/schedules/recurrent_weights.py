"""How a recurrent kernel cuts the hidden state into vectors, and the order of its weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tvm_sod2.schedules.recurrent_cell import Cell


def segments(hidden: int, lanes: int) -> Iterator[tuple[int, int, int]]:
    """The columns of a state as (first, number of tiles, width of each): whole vectors first."""
    first, width = 0, lanes
    while first < hidden:
        count = (hidden - first) // width
        if count:
            yield first, count, width
        first += count * width
        width //= 2


def pack_weights(cell: Cell, lanes: int, weight: np.ndarray) -> np.ndarray:
    """Weights (D, H, G * H) as (D, H * G * H) in the order in which the kernel reads them.

    For each phase and segment of columns: [tile, the state's axis, gate, column].
    """
    directions, hidden = len(cell.reverse), cell.hidden
    by_gate = weight.reshape(directions, hidden, cell.gates, hidden)
    parts = []
    for gates in cell.phases:
        for first, count, width in segments(hidden, lanes):
            part = by_gate[:, :, list(gates), first : first + count * width]
            tiles = part.reshape(directions, hidden, len(gates), count, width)
            parts.append(tiles.transpose(0, 3, 1, 2, 4).reshape(directions, -1))
    return np.ascontiguousarray(np.concatenate(parts, 1))
