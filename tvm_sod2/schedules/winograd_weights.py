"""The weights of a Winograd convolution, transformed at build or by the kernel itself.

Transformed weights are up to four times as large as the filters. Small ones are constants; large
ones are made by the kernel at every call: to read them from memory would take as long, and they
would make the library that much larger. Those of F(4x4, 3x3) are made of the filters, or of
F(2x2, 3x3)'s where these are constants. A core reads only what it has made itself: to read what
another has just written takes longer than to make it twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from tvm import tirx

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


Load = Callable[[Any, Any, Any, Any], Any]
"""From a product, a panel's place, an input channel and columns to their transformed weights."""


@dataclass(frozen=True)
class Weights:
    """What a kernel has of its weights: those of `stored`, else filters, in panels.

    packed: [16 or 36 or 9, panels, I, columns]. Other forms make theirs of them, for a panel in one
    place [products, I, columns] of `made`, so that no core fetches ahead what another writes.
    """

    packed: Any
    stored: Form | None
    made: Any

    @staticmethod
    def declare(
        code: Code, name: str, sizes: list[Any], stored: Form | None, largest: Form, places: Any
    ) -> Weights:
        """For panels of `sizes` and forms up to `largest`, with `places` for what is made."""
        count = TAPS**2 if stored is None else stored.products
        packed = tirx.decl_buffer([i64(count), *sizes], "float32", f"{name}_packed")
        if largest is stored:
            return Weights(packed, stored, None)
        points = [places, i64(largest.products), *sizes[1:]]
        made = tirx.decl_buffer(points, "float32", f"{name}_points")
        code.add(tirx.AllocBuffer(made))
        return Weights(packed, stored, made)

    def there(self, point: Any, panel: Any, i: Any, at: Any) -> Any:
        """Transformed weights of the stored form."""
        return self.packed[point, panel, i, at]

    def made_here(self, point: Any, place: Any, i: Any, at: Any) -> Any:
        """Transformed weights that the kernel has made."""
        return self.made[place, point, i, at]

    def make(self, code: Code, form: Form, lanes: int, panel: Any, place: Any, i: Any) -> None:
        """Transform filters, or what F(2x2, 3x3) has made of them, from one input channel."""
        given, _, _, columns = (int(size) for size in self.packed.shape)
        side = TAPS if given == TAPS**2 else TWO.size
        with code.loop(columns // lanes, "v") as v:
            at = ramp(v * i64(lanes), lanes)
            name = named(code, lanes)
            taps = [
                [name(self.packed[y * side + x, panel, i, at]) for x in range(side)]
                for y in range(side)
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
                    code.store(self.made, value, place, y * form.size + x, i, at)


def named(code: Code, lanes: int) -> Callable[[Any], Any]:
    """Keeps vectors in registers, each in its own."""
    numbers = count()

    def name(value: Any) -> Any:
        buffer = code.register(lanes, "value", next(numbers))
        code.store(buffer, value, ramp(0, lanes))
        return buffer[ramp(0, lanes)]

    return name
