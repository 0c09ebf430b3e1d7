"""The weights of a Winograd convolution, transformed at build or by the kernel itself.

Transformed weights are up to four times as large as the filters. Small ones are constants; large
ones are made by the kernel at every call, in a scratch of its own that the arena holds: to read
them from memory would take as long, and they would make the library that much larger. Those of
F(4x4, 3x3) are made of the filters, or of F(2x2, 3x3)'s where these are constants.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from tvm_sod2.schedules.kernel import Code, i64, ramp
from tvm_sod2.schedules.panels import Panels, pack_panels
from tvm_sod2.schedules.winograd_matrices import TAPS, TWO, Form, taps_of

# Transformed weights up to this size are constants.
BAKED_BYTES = 2**18


def transformed_at_build(form: Form, panels: Panels, depth: int) -> bool:
    """Whether transformed weights are constants."""
    return 4 * form.products * panels.count * depth * panels.shape.columns <= BAKED_BYTES


def pack_weights(layout: str, form: Form | None, columns: int, weight: np.ndarray) -> np.ndarray:
    """Weights in panels: [products, panels, I, columns], for no form [9, panels, I, columns]."""
    moved = weight.transpose([layout.index(c) for c in "HWIO"])
    if form is not None:
        points = form.weights(moved).astype(np.float32)
        return np.stack([pack_panels(point, columns) for point in points])
    return np.stack([pack_panels(tap, columns) for line in moved for tap in line])


def transform(code: Code, form: Form, packed: Any, weights: Any, lanes: int) -> None:
    """Filters, or what F(2x2, 3x3) has made of them, into the first products of `weights`.

    packed: [9 or 16, panels, I, columns]; weights: [products or more, panels, I, columns].
    """
    given, panels, depth, columns = (int(size) for size in packed.shape)
    work = i64(panels * depth * columns * form.products * 4)
    with code.tasks(i64(panels * depth), "u", work) as u, code.bank():
        panel, i = code.slot(u // i64(depth), "panel"), code.slot(u % i64(depth), "i")
        with code.loop(columns // lanes, "v") as v:
            at = ramp(v * i64(lanes), lanes)
            name = named(code, lanes)
            side = TAPS if given == TAPS**2 else TWO.size
            taps = [
                [name(packed[y * side + x, panel, i, at]) for x in range(side)] for y in range(side)
            ]
            if side != TAPS:
                lines = [taps_of(line, lanes, name) for line in taps]
                columns_of = [
                    taps_of([line[x] for line in lines], lanes, name) for x in range(TAPS)
                ]
                taps = [[column[y] for column in columns_of] for y in range(TAPS)]
            lines = [form.filter(line, lanes, name) for line in taps]
            for x in range(form.size):
                column = form.filter([line[x] for line in lines], lanes, name)
                for y, value in enumerate(column):
                    code.store(weights, value, y * form.size + x, panel, i, at)


def named(code: Code, lanes: int) -> Callable[[Any], Any]:
    """Keeps vectors in registers, each in its own."""
    numbers = count()

    def name(value: Any) -> Any:
        buffer = code.register(lanes, "value", next(numbers))
        code.store(buffer, value, ramp(0, lanes))
        return buffer[ramp(0, lanes)]

    return name
