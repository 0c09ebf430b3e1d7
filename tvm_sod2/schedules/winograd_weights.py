"""The weights of a Winograd convolution, transformed at build or by the kernel itself.

Transformed weights are up to four times as large as the filters. Small ones are constants; large
ones are made by the kernel at every call: to read them from memory would take as long, and they
would make the library that much larger. Those of F(4x4, 3x3) are made of the filters, or of
F(2x2, 3x3)'s where these are constants. A core reads only what it has made itself: to read what
another has just written takes longer than to make it twice.
"""

from __future__ import annotations

import math
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

# Up to this size each thread makes all of them for itself.
THREAD_BYTES = 2**21


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
"""From a product, a panel, an input channel and columns to their transformed weights."""


@dataclass(frozen=True)
class Weights:
    """What a kernel has of its weights: those of `stored`, else filters, in panels.

    packed: [16 or 36 or 9, panels, I, columns]. Where a thread cannot hold all that it would make
    of them, `shared` is a place for them, of which each thread uses some panels.
    """

    packed: Any
    stored: Form | None
    shared: Any

    @staticmethod
    def declare(code: Code, name: str, sizes: list[Any], stored: Form | None, largest: Form) -> Any:
        """For panels of `sizes` and forms up to `largest`."""
        count = TAPS**2 if stored is None else stored.products
        packed = tirx.decl_buffer([i64(count), *sizes], "float32", f"{name}_packed")
        shared = None
        if largest is not stored and not _fits_thread(largest, sizes):
            shared = _made(largest, sizes, f"{name}_points")
            code.add(tirx.AllocBuffer(shared))
        return Weights(packed, stored, shared)

    def load(self, code: Code, form: Form, lanes: int, begin: Any, end: Any) -> Load:
        """The transformed weights of the panels [begin, end), made first if they are not there."""
        if form is self.stored:
            return lambda point, panel, i, at: self.packed[point, panel, i, at]
        made = self.shared
        if made is None:
            made = _made(form, list(self.packed.shape[1:]), "points")
            code.add(tirx.AllocBuffer(made))
        transform(code, form, self.packed, made, lanes, begin, end)
        return lambda point, panel, i, at: made[panel, point, i, at]


def _made(form: Form, sizes: list[Any], name: str) -> Any:
    """[panels, products, I, columns]: no core fetches ahead what another writes."""
    return tirx.decl_buffer([sizes[0], i64(form.products), *sizes[1:]], "float32", name)


def _fits_thread(form: Form, sizes: list[Any]) -> bool:
    return 4 * form.products * math.prod(map(int, sizes)) <= THREAD_BYTES


def transform(
    code: Code, form: Form, packed: Any, made: Any, lanes: int, begin: Any, end: Any
) -> None:
    """Filters, or what F(2x2, 3x3) has made of them, transformed, for the panels [begin, end).

    packed: [9 or 16, panels, I, columns]; made: [panels, products or more, I, columns].
    """
    given, _, depth, columns = (int(size) for size in packed.shape)
    side = TAPS if given == TAPS**2 else TWO.size
    with code.loop(end - begin, "p") as p, code.loop(depth, "i") as i:
        panel = code.slot(begin + p, "panel")
        with code.loop(columns // lanes, "v") as v:
            at = ramp(v * i64(lanes), lanes)
            name = named(code, lanes)
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
                    code.store(made, value, panel, y * form.size + x, i, at)


def named(code: Code, lanes: int) -> Callable[[Any], Any]:
    """Keeps vectors in registers, each in its own."""
    numbers = count()

    def name(value: Any) -> Any:
        buffer = code.register(lanes, "value", next(numbers))
        code.store(buffer, value, ramp(0, lanes))
        return buffer[ramp(0, lanes)]

    return name
