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


def transformed_at_build(panels: Panels, depth: int) -> bool:
    """Whether transformed weights are constants."""
    return 4 * POINTS * panels.count * depth * panels.shape.columns <= BAKED_BYTES


def declare(code: Code, name: str, panels: Panels, depth: int) -> tuple[Any, Any]:
    """The kernel's parameter, and the transformed weights [36, panels, I, columns].

    They are the same where weights are transformed at build, else what `transform` takes and makes.
    """
    sizes = panels.packed_shape(depth)
    if transformed_at_build(panels, depth):
        packed = tirx.decl_buffer([i64(POINTS), *sizes], "float32", f"{name}_packed")
        return packed, packed
    packed = tirx.decl_buffer([i64(TAPS**2), *sizes], "float32", f"{name}_packed")
    weights = tirx.decl_buffer([i64(POINTS), *sizes], "float32", f"{name}_points")
    code.add(tirx.AllocBuffer(weights))
    return packed, weights


def pack_weights(layout: str, panels: Panels, weight: np.ndarray) -> np.ndarray:
    """Weights in panels: [36, panels, I, columns] transformed, or [9, panels, I, columns]."""
    columns = panels.shape.columns
    moved = weight.transpose([layout.index(c) for c in "HWIO"])
    if transformed_at_build(panels, moved.shape[2]):
        points = transform_weights(moved).astype(np.float32)
        return np.stack([pack_panels(point, columns) for point in points])
    return np.stack([pack_panels(tap, columns) for line in moved for tap in line])


def transform(code: Code, filters: Any, weights: Any, lanes: int) -> None:
    """Filters [9, panels, I, columns], transformed, into [36, panels, I, columns]."""
    panels, depth, columns = (int(size) for size in filters.shape[1:])
    work = i64(panels * depth * columns * POINTS * 4)
    with code.tasks(i64(panels * depth), "u", work) as u, code.bank():
        panel, i = code.slot(u // i64(depth), "panel"), code.slot(u % i64(depth), "i")
        with code.loop(columns // lanes, "v") as v:
            at = ramp(v * i64(lanes), lanes)
            name = named(code, lanes)
            taps = [[filters[y * TAPS + x, panel, i, at] for x in range(TAPS)] for y in range(TAPS)]
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
