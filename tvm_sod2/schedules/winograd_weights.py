"""The weights of a Winograd convolution, transformed at build or by the kernel itself.

Transformed weights are four times as large as the filters. Small ones are constants; large ones are
made by the kernel at every call, in a scratch of its own that the arena holds: to read them from
memory would take as long, and they would make the library that much larger.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.kernel import Code, i64, ramp
from tvm_sod2.schedules.panels import Panels, pack_panels
from tvm_sod2.schedules.winograd_matrices import IN, transform_filter, transform_weights

# Transformed weights up to this size are constants.
BAKED_BYTES = 2**18

POINTS = IN * IN
TAPS = 3


def transformed_weights(code: Code, name: str, panels: Panels, depth: int) -> tuple[Any, Any]:
    """The kernel's parameter, and the weights [36, panels, I, columns]; writes what makes them."""
    sizes = panels.packed_shape(depth)
    if _baked(panels, depth):
        packed = tirx.decl_buffer([i64(POINTS), *sizes], "float32", f"{name}_packed")
        return packed, packed
    packed = tirx.decl_buffer([i64(TAPS), i64(TAPS), *sizes], "float32", f"{name}_packed")
    weights = tirx.decl_buffer([i64(POINTS), *sizes], "float32", f"{name}_points")
    code.add(tirx.AllocBuffer(weights))
    _transform(code, packed, weights, panels.shape.lanes)
    return packed, weights


def pack_weights(layout: str, panels: Panels, weight: np.ndarray) -> np.ndarray:
    """Weights in panels: [36, panels, I, columns] transformed, or [3, 3, ...] as they are."""
    columns = panels.shape.columns
    moved = weight.transpose([layout.index(c) for c in "HWIO"])
    if _baked(panels, moved.shape[2]):
        points = transform_weights(moved).astype(np.float32)
        return np.stack([pack_panels(point, columns) for point in points])
    return np.stack([np.stack([pack_panels(tap, columns) for tap in line]) for line in moved])


def _baked(panels: Panels, depth: int) -> bool:
    return 4 * POINTS * panels.count * depth * panels.shape.columns <= BAKED_BYTES


def _transform(code: Code, filters: Any, weights: Any, lanes: int) -> None:
    """Filters [3, 3, panels, I, columns], transformed, into [36, panels, I, columns]."""
    panels, depth, columns = (int(size) for size in filters.shape[2:])
    work = i64(panels * depth * columns * POINTS * 4)
    with code.tasks(i64(panels * depth), "u", work) as u, code.bank():
        panel, i = code.slot(u // i64(depth), "panel"), code.slot(u % i64(depth), "i")
        with code.loop(columns // lanes, "v") as v:
            at = ramp(v * i64(lanes), lanes)
            name = named(code, lanes)
            taps = [[filters[y, x, panel, i, at] for x in range(TAPS)] for y in range(TAPS)]
            lines = [transform_filter(list(map(name, line)), lanes, name) for line in taps]
            for x in range(IN):
                column = transform_filter([line[x] for line in lines], lanes, name)
                for y, value in enumerate(column):
                    code.store(weights, value, y * IN + x, panel, i, at)


def named(code: Code, lanes: int) -> Callable[[Any], Any]:
    """Keeps vectors in registers, each in its own."""
    numbers = count()

    def name(value: Any) -> Any:
        buffer = code.register(lanes, "value", next(numbers))
        code.store(buffer, value, ramp(0, lanes))
        return buffer[ramp(0, lanes)]

    return name
