"""Draws a random graph from a seed."""

from __future__ import annotations

import warnings

import numpy as np

from .drawing import RejectedError
from .growth import Growth
from .rows import ROWS
from .values import Case

OPERATOR_SETS = (18, 21, 23)
_TRIES = 12  # how many rows are drawn for each node wanted, at most


def random_case(seed: int, free: bool = False) -> Case:
    """The graph of a seed, with inputs and expected values at every sample."""
    rng = np.random.default_rng(seed)
    while True:
        g = Growth(rng, OPERATOR_SETS[int(rng.integers(len(OPERATOR_SETS)))], free)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _start(g)
                grow(g, int(rng.integers(3, 19)))
                return g.model()
        except RejectedError:
            continue


def _start(g: Growth) -> None:
    """The first inputs; the first is always of floats."""
    dtypes = ["float32", "float32", "int64", "bool", "int32", "float16", "uint8", "float64"]
    for number in range(g.integer(1, 4)):
        rank = g.one_of([0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5])
        dtype = dtypes[min(int(g.rng.geometric(0.35)) - 1, 7)] if number else "float32"
        g.draw_input(dtype, g.draw_dims(rank))


def grow(g: Growth, count: int) -> None:
    """Add `count` rows to the graph, or fewer where nothing fits."""
    rows = [row for row in ROWS if row.since <= g.opset]
    weights = np.array([row.weight for row in rows])
    weights /= weights.sum()
    added = 0
    for _ in range(_TRIES * count):
        if added == count:
            return
        row = rows[int(g.rng.choice(len(rows), p=weights))]
        try:
            with g.attempt():
                row.add(g)
                added += 1
        except RejectedError:
            continue
