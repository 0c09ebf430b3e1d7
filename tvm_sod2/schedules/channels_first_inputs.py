"""Inputs of a part of an output row, laid out for lanes over its pixels.

Pixels are a stride apart, and a tap a number of strides from another one reads what that one reads
for another pixel. So the taps of a kernel row fall into classes that share a row of inputs, for
5 taps of stride 2

    taps 0, 2, 4:  x0 x2 x4 x6 ...  from the first, second, third element on
    taps 1, 3:     x1 x3 x5 x7 ...  from the first, second one on
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.convolution import Convolution, Window
from tvm_sod2.schedules.kernel import Code, f32, i64, ramp, splat
from tvm_sod2.schedules.transpose import shuffled

_SHUFFLED = 8  # strides up to this one are taken out of whole vectors

# A part of an input row as a vector or a scalar, by its first position and number of lanes.
Row = Callable[[Any, int], Any]


@dataclass(frozen=True)
class Classes:
    """The taps of a kernel row in `count` classes: tap t is of class t % count.

    Attributes:
        size: number of taps.
        apart: pixels from the place of one tap of a class to that of the next.
    """

    size: int
    count: int
    apart: int

    @staticmethod
    def of(window: Window) -> Classes:
        common = gcd(window.stride, window.dilation)
        count = window.stride // common
        return Classes(int(window.size), min(count, window.size), window.dilation // common)

    @property
    def longest(self) -> int:
        """Taps of the first class."""
        return -(-self.size // self.count)


class Inputs:
    """The inputs of one task as rows: for each kernel row, channel and class one.

    width: the most pixels of a task.
    """

    def __init__(
        self, code: Code, conv: Convolution, classes: Classes, lanes: int, width: int
    ) -> None:
        self.code, self.conv, self.classes = code, conv, classes
        self.lanes, self.width = lanes, width
        behind = (classes.longest - 1) * classes.apart
        self.behind = -(-behind // lanes)  # vectors that later taps read beyond the pixels'
        self.pitch = width + self.behind * lanes
        self.places = self._places()
        self.matrix: Any = None

    def fill(self, n: Any, group: Any, oh: Any, first: Any, pixels: Any) -> tuple[Any, Any]:
        """Lay out what some pixels of an output row read of a group's channels.

        Returns the first kernel row inside the image, and how many follow; the others have no rows.
        """
        code, conv, lanes = self.code, self.conv, self.lanes
        across, classes = conv.horizontal, self.classes
        top = code.slot(conv.vertical.start(oh), "top")
        left = code.slot(across.start(first), "left")
        kernel_rows = conv.vertical.taps(code, top, "kh")
        vectors = code.slot((pixels + i64(lanes - 1)) // i64(lanes) + i64(self.behind), "vectors")
        inputs = conv.sizes["I"]
        self.matrix = code.buffer(conv.sizes["H"] * inputs * classes.count * self.pitch, "matrix")
        # Strides are taken out of whole vectors.
        reach = (classes.count - 1) * across.dilation
        longest = (self.pitch // lanes) * lanes * across.stride + reach
        span = code.slot(vectors * i64(lanes * across.stride) + i64(reach), "span")

        def each(write: Callable[[Any, Row], None]) -> None:
            with code.loop(kernel_rows[1], "kh") as kh, code.loop(inputs, "i") as i:
                line = top + (kernel_rows[0] + kh) * i64(conv.vertical.dilation)
                channel = group * i64(inputs) + i

                def row(start: Any, size: int) -> Any:
                    # Of one channel, the pixel's number will do in the channel's place.
                    lead = (line, i64(0)) if conv.channels_last else (channel, line)
                    return conv.data[(n, *lead, ramp(left + start, size))]

                write(code.slot((kh * i64(inputs) + i) * i64(classes.count), "number"), row)

        def direct() -> None:
            each(lambda number, row: self._spread(vectors, number, row))

        def bordered() -> None:
            """Through a row with zeros beyond the image."""
            padded = code.buffer(-(-longest // lanes) * lanes, "padded")
            low = code.slot(tirx.min(tirx.max(-left, i64(0)), span), "low")
            high = tirx.max(tirx.min(across.extent - left, span), low)
            known = code.slot(high - low, "known")
            with code.loop((span + i64(lanes - 1)) // i64(lanes), "v") as v:
                code.store(padded, splat(f32(0.0), lanes), ramp(v * i64(lanes), lanes))

            def write(number: Any, row: Row) -> None:
                with code.loop(known, "j") as j:
                    code.store(padded, row(low + j, 1), low + j)
                self._spread(vectors, number, lambda start, size: padded[ramp(start, size)])

            each(write)

        inside = tirx.all(left >= i64(0), left + span <= across.extent)
        code.branch([(inside, direct), (None, bordered)])
        return kernel_rows

    def _spread(self, count: Any, number: Any, row: Row) -> None:
        """So many vectors of a row of inputs as rows of the matrix from a number on."""
        code, lanes, across = self.code, self.lanes, self.conv.horizontal
        stride, dilation = across.stride, across.dilation
        if stride > _SHUFFLED:
            with code.loop(self.classes.count, "class") as c, code.loop(count, "v") as v:
                to = (number + c) * i64(self.pitch) + v * i64(lanes)
                start = v * i64(lanes * stride) + c * i64(dilation)
                with code.loop(lanes, "p") as p:
                    code.store(self.matrix, row(start + p * i64(stride), 1), to + p)
            return
        every = [stride * lane for lane in range(lanes)]
        with code.loop(count, "v") as v:
            for c in range(self.classes.count):
                start = v * i64(lanes * stride) + i64(c * dilation)
                vectors = [row(start + i64(j * lanes), lanes) for j in range(stride)]
                value = vectors[0] if stride == 1 else shuffled(vectors, every)
                to = (number + i64(c)) * i64(self.pitch) + v * i64(lanes)
                code.store(self.matrix, value, ramp(to, lanes))

    def under(self, k: Any, pixel: Any, size: int) -> Any:
        """What some pixels from one on read for the k-th tap of those that have rows."""
        return self.matrix[ramp(self.places[k] + pixel, size)]

    def _places(self) -> Any:
        """For each tap, where its row begins for the first pixel."""
        code, classes, conv = self.code, self.classes, self.conv
        places = code.buffer(conv.steps, "places", "int64")
        lines, size, count = conv.steps // classes.size, classes.size, i64(classes.count)
        with code.loop(lines, "line") as line, code.loop(size, "tap") as tap:
            place = (line * count + tap % count) * i64(self.pitch)
            place += tap // count * i64(classes.apart)
            code.store(places, place, line * i64(size) + tap)
        return places


def pack(layout: str, groups: int, rows: int, weight: np.ndarray) -> np.ndarray:
    """[groups * blocks, KH * I * KW, rows]; a group's last block ends with its last channel."""
    moved = weight.transpose([layout.index(c) for c in "OHIW"])
    blocks = []
    for part in np.split(moved.reshape(len(moved), -1), groups):
        for start in range(0, len(part), rows):
            start = min(start, len(part) - rows)
            blocks.append(part[start : start + rows].T)
    return np.stack(blocks)
