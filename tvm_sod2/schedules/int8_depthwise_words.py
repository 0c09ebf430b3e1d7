"""Depthwise convolution of bytes by instructions that sum four products, exact in 32 bits.

Lanes run over channels. Four neighbouring input pixels are interleaved so that each channel's bytes
make a word, and one instruction takes four taps of a kernel row, or fewer beside zeros. At dilation
1 neighbouring output pixels share these words: their weights are packed once for each place that a
window has in them, for 3 taps of stride 1

    pixel 0: w0 w1 w2 0    pixel 1: 0 w0 w1 w2

Border pixels and vectors of few lanes go tap by tap. Loops and zero points are those of
int8_depthwise.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.depthwise import chunks_of, read_depthwise, write_depthwise
from tvm_sod2.schedules.dot import EPILOGUE, WORD, Dot, unsuited
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, Kernel, Refusal, i64, ramp
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.panels import Widths
from tvm_sod2.schedules.strips import Strip
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.zero_point import start_of_sums

_ONE_INSTRUCTION = ("vnni", "sdot")


@dataclass(frozen=True)
class _Rows:
    """Where the parts of a kernel row's packed weights begin, in rows of an int32 per channel.

    First `width + 1` sums of the taps before each, then the taps, then for each place of a window
    its words.
    """

    width: int
    stride: int
    dilation: int

    @property
    def words(self) -> int:
        return -(-self.width // WORD)

    @property
    def places(self) -> int:
        """How many pixels' windows lie within the same words."""
        free = self.words * WORD - self.width
        return 1 + free // self.stride if self.dilation == 1 else 1

    @property
    def taps(self) -> int:
        return self.width + 1

    @property
    def count(self) -> int:
        return self.taps + self.width + self.places * self.words

    def word(self, place: int, number: int) -> int:
        return self.taps + self.width + place * self.words + number

    def under(self, pixels: int, number: int) -> list[int]:
        """The taps of the first of some pixels whose bytes are a word of theirs.

        Beyond the last pixel's window, where weights are zero, it is that window's last.
        """
        last = (pixels - 1) * self.stride + self.width - 1
        return [min(number * WORD + byte, last) for byte in range(WORD)]

    def pack(self, taps: np.ndarray) -> np.ndarray:
        """[KH, KW, channels] bytes to [KH, count, channels] int32."""
        height, width, channels = taps.shape
        sums = np.zeros((height, width + 1, channels), np.int32)
        sums[:, 1:] = taps.cumsum(1, dtype=np.int32)
        placed = np.zeros((height, self.places, self.words * WORD, channels), np.int8)
        for place in range(self.places):
            first = place * self.stride
            placed[:, place, first : first + width] = taps
        split = placed.reshape(height, -1, WORD, channels).swapaxes(2, 3)
        words = np.ascontiguousarray(split).view("<i4")[..., 0]
        return np.concatenate([sums, taps.astype(np.int32), words], axis=1)


class _Sums(Registers):
    dtype = "int32"

    def add_row(
        self,
        rows_of: _Rows,
        dot: Dot,
        data: Callable[[int, int, int, int], Any],
        weights: Callable[[int, int, int], Any],
    ) -> None:
        """Add a kernel row.

        data: the bytes under (tap, pixel, offset, width); weights: at (row, offset, width).
        """
        for v, (offset, width) in enumerate(zip(self.offsets, self.vectors, strict=True)):
            totals = [row[v][0] for row in self.sums]
            lanes = ramp(0, width)
            if width < WORD:
                for tap, (r, total) in product(range(rows_of.width), enumerate(totals)):
                    factor = weights(rows_of.taps + tap, offset, width)
                    value = dot.widened(data(tap, r, offset, width)) * factor
                    self.code.store(total, total[lanes] + value, lanes)
                continue
            for first in range(0, len(totals), rows_of.places):
                pixels = totals[first : first + rows_of.places]
                for number in range(rows_of.words):
                    taps = rows_of.under(len(pixels), number)
                    word = dot.interleaved([data(tap, first, offset, width) for tap in taps])
                    for place, total in enumerate(pixels):
                        row = weights(rows_of.word(place, number), offset, width)
                        factors = tirx.reinterpret(f"int8x{WORD * width}", row)
                        value = dot.accumulate(total[lanes], word, factors, width)
                        self.code.store(total, value, lanes)


def emit_int8_depthwise_words(group: Group, traits: Traits) -> Kernel | Refusal:
    """One filter for each channel; any size, stride, padding and dilation; int8 weights."""
    conv = read_depthwise(group)
    if isinstance(conv, Refusal):
        return conv
    if (refusal := unsuited(conv.data, conv.weights, "int8")) is not None:
        return refusal
    if traits.dot not in _ONE_INSTRUCTION:
        return Refusal("no instruction sums four products")
    height, width, channels = (conv.sizes[letter] for letter in "HWO")
    rows_of = _Rows(width, conv.horizontal.stride, conv.horizontal.dilation)
    dot = Dot(str(conv.data.dtype), traits.dot)
    chunks = chunks_of(channels, traits.lanes("int32"))
    shape = [i64(d) for d in (height, rows_of.count, channels)]
    packed = tirx.decl_buffer(shape, "int32", f"{conv.weights.name}_packed")
    code = Code()
    zero = dot.zero(code, group.zero)

    def weights(kh: Any, row: Any, channel: Any, offset: int, size: int) -> Any:
        return packed[kh, i64(row), ramp(channel + i64(offset), size)]

    def data(strip: Strip, channel: Any, kh: Any, kw: Any, r: int, offset: int, size: int) -> Any:
        return conv.data[(*strip.under(kh, i64(kw), r), ramp(channel + i64(offset), size))]

    def begin(strip: Strip, channel: Any, rows: int, vectors: Widths, kw: Any, count: Any) -> _Sums:
        def sums(kh: Any, *part: int) -> Any:
            return weights(kh, kw + count, channel, *part) - weights(kh, kw, channel, *part)

        start = start_of_sums(strip, zero, vectors, sums)
        return _Sums(code, rows, vectors, chains=1, start=start)

    def row(registers: _Sums, strip: Strip, channel: Any, kh: Any) -> None:
        registers.add_row(
            rows_of,
            dot,
            lambda kw, *at: data(strip, channel, kh, kw, *at),
            lambda at, *part: weights(kh, at, channel, *part),
        )

    def tap(registers: _Sums, strip: Strip, channel: Any, kh: Any, kw: Any) -> None:
        registers.multiply(
            lambda r, *part: dot.widened(data(strip, channel, kh, kw, r, *part)),
            lambda *part: weights(kh, i64(rows_of.taps) + kw, channel, *part),
        )

    # A word is interleaved, which is as much as three instructions, and multiplied.
    work = conv.pixels * i64((4 * height * rows_of.words + EPILOGUE) * channels)
    write_depthwise(code, group, conv, chunks, work, begin, tap, row)
    return group.emitted(
        code,
        f"int8 depthwise {height}x{width} {chunks.shape.rows}x{chunks.shape.columns} {traits.dot}",
        conv.weights,
        packed,
        partial(_pack, conv.layout, rows_of),
    )


def _pack(layout: str, rows_of: _Rows, weight: np.ndarray) -> np.ndarray:
    return rows_of.pack(weight.transpose([layout.index(c) for c in "HWOI"])[..., 0])
