"""Direct convolution of bytes, channels last, constant int8 weights, exact in 32 bits.

Tasks, tiles and borders are those of conv2d.py; a step of the reduction takes four bytes. Inside
the image the inputs of one kernel row are one run of KW * I bytes, cut into words wherever channels
end; at the border, and in a dilated or grouped convolution, a run ends after each tap, and weights
are packed a second time for it where I is no multiple of four. The zero point: zero_point.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.conv2d import tasks
from tvm_sod2.schedules.convolution import read_convolution
from tvm_sod2.schedules.dot import WORD, Dot, DotRegisters, pack_sums, pack_words, sums_of, unsuited
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, Kernel, Refusal, i64, ramp
from tvm_sod2.schedules.panels import Panels, Widths
from tvm_sod2.schedules.strips import strips
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.zero_point import start_of_sums


@dataclass(frozen=True)
class Rows:
    """Where the parts of a panel's packed weights begin, in rows of words.

    First `sums`: for each kernel row the prefix sums over its taps, KW + 1 rows. Then `taps`: the
    words of each tap. Then `runs`: the words of each kernel row, the same rows where taps fill
    their words.
    """

    height: int
    width: int
    inputs: int
    joined: bool

    @property
    def per_tap(self) -> int:
        return -(-self.inputs // WORD)

    @property
    def per_run(self) -> int:
        return -(-self.inputs * self.width // WORD)

    @property
    def taps(self) -> int:
        return self.height * (self.width + 1)

    @property
    def separate(self) -> bool:
        """Whether runs are packed beside taps."""
        return self.joined and self.inputs % WORD != 0

    @property
    def runs(self) -> int:
        after = self.height * self.width * self.per_tap
        return self.taps + (after if self.separate else 0)

    @property
    def count(self) -> int:
        last = self.height * (self.per_run if self.separate else self.width * self.per_tap)
        return self.runs + last

    def pack(self, weights: np.ndarray, columns: int) -> np.ndarray:
        """[KH, KW, I, O] to [panels, count, columns * 4] bytes."""
        channels = weights.shape[-1]
        sums = np.zeros((self.height, self.width + 1, channels), np.int32)
        sums[:, 1:] = weights.sum(2, dtype=np.int32).cumsum(1)
        parts = [pack_sums(sums.reshape(-1, channels), columns)]
        parts += [pack_words(tap, columns) for row in weights for tap in row]
        if self.separate:
            parts += [pack_words(row.reshape(-1, channels), columns) for row in weights]
        return np.concatenate(parts, axis=1)


def emit_int8_conv2d(group: Group, traits: Traits) -> Kernel | Refusal:
    """Convolution of any size, stride, padding, dilation and groups; constant weights."""
    conv = read_convolution(group)
    if isinstance(conv, Refusal):
        return conv
    if (refusal := unsuited(conv.data, conv.weights, "int8")) is not None:
        return refusal
    if conv.empty:
        return Refusal("an empty kernel")
    height, width, inputs, outputs = (conv.sizes[letter] for letter in "HWIO")
    rows_of = Rows(height, width, inputs, conv.horizontal.dilation == 1 and conv.groups == 1)
    dot = Dot(str(conv.data.dtype), traits.dot)
    channels = outputs // conv.groups
    shape = dot.shape(channels, traits)
    panels = Panels(channels, shape)
    words = [i64(panels.count * conv.groups), i64(rows_of.count), i64(shape.columns * WORD)]
    packed = tirx.decl_buffer(words, "int8", f"{conv.weights.name}_packed")
    code = Code()
    zero = dot.zero(code, group.zero)
    steps = height * width * inputs
    work = conv.pixels * i64(outputs) * dot.work(steps)
    cut = partial(strips, shared=conv.horizontal.dilation > 1)
    with tasks(code, group, conv, panels, work, cut) as task:
        strip, part = task.strip, task.part

        def begin(rows: int, vectors: Widths, kw: Any, count: Any) -> DotRegisters:
            """Registers that begin with what the zero point adds over `count` taps from kw."""

            def weights(kh: Any, offset: int, size: int) -> Any:
                row = kh * i64(width + 1) + kw
                after = sums_of(packed, part, row + count, offset, size)
                return after - sums_of(packed, part, row, offset, size)

            start = start_of_sums(strip, zero, vectors, weights)
            return DotRegisters(code, rows, vectors, dot, start)

        def run(registers: DotRegisters, kw: Any, length: int, first_row: Any) -> None:
            """One pass over kernel rows, each from tap kw over `length` input bytes.

            first_row: the row of words of a kernel row's first word.
            """
            with strip.each_kernel_row() as kh:
                base = code.slot(first_row(kh), "base")

                def data(r: int, i: Any, count: int) -> Any:
                    first = task.channel + i * i64(WORD)
                    return dot.word(conv.data, strip.under(kh, kw, r), first, count)

                def weight(offset: int, size: int, i: Any) -> Any:
                    return packed[part, base + i, ramp(WORD * offset, WORD * size)]

                registers.run_bytes(length, data, weight)

        def tap(registers: DotRegisters, kw: Any) -> None:
            def first_row(kh: Any) -> Any:
                return i64(rows_of.taps) + (kh * i64(width) + kw) * i64(rows_of.per_tap)

            run(registers, kw, inputs, first_row)

        def interior(rows: int, vectors: Widths) -> DotRegisters:
            registers = begin(rows, vectors, i64(0), i64(width))
            if rows_of.joined:
                run(
                    registers,
                    i64(0),
                    width * inputs,
                    lambda kh: i64(rows_of.runs) + kh * i64(rows_of.per_run),
                )
            else:
                with code.loop(width, "kw") as kw:
                    tap(registers, kw)
            return registers

        def border(rows: int, vectors: Widths, kw_first: Any, kw_count: Any) -> DotRegisters:
            registers = begin(rows, vectors, kw_first, kw_count)
            with code.loop(kw_count, "kw") as kw:
                tap(registers, kw_first + kw)
            return registers

        task.output.write(code, strip.versions(interior, border), steps)
    return group.emitted(
        code,
        f"int8 conv {height}x{width} {shape.rows}x{shape.columns} {traits.dot}",
        conv.weights,
        packed,
        partial(_pack, conv.layout, conv.groups, rows_of, shape.columns),
    )


def _pack(layout: str, groups: int, rows: Rows, columns: int, weight: np.ndarray) -> np.ndarray:
    """The panels of each group after those of the one before."""
    moved = weight.transpose([layout.index(c) for c in "HWIO"])
    parts = np.split(moved, groups, axis=3)
    return np.concatenate([rows.pack(part, columns) for part in parts])
