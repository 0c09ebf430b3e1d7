"""Direct convolution of bytes, channels last, constant int8 weights, exact in 32 bits.

Tasks, tiles and borders are those of conv2d.py; a step of the reduction takes four bytes. Inside
the image the inputs of one kernel row are one run of KW * I bytes, cut into words wherever channels
end; at the border, and in a dilated or grouped convolution, a run ends after each tap, and weights
are packed a second time for it where I is no multiple of four.

Padding means 0 where bytes mean their value less the zero point. Taps outside the image are
skipped, so the sums begin with `-zero * (weights of the taps inside)`, from sums packed along KW.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.conv2d import Blocks, windows
from tvm_sod2.schedules.dot import WORD, Dot, DotRegisters, pack_sums, pack_words, sums_of
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, Kernel, Refusal, i64, lowered, ramp, splat
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import Output
from tvm_sod2.schedules.panels import Panels, Widths, by_rows
from tvm_sod2.schedules.traits import Traits


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
    attrs = group.attrs
    x, w = group.inputs
    if not group.packable(w):
        return Refusal("the weights cannot be packed")
    if str(x.dtype) not in ("int8", "uint8") or str(w.dtype) != "int8":
        return Refusal(f"operands of {x.dtype} and {w.dtype}")
    if attrs["data_layout"] != "NHWC":
        return Refusal("not channels-last")
    kernel = dict(zip(attrs["kernel_layout"], (int(d) for d in w.shape), strict=True))
    if 0 in kernel.values():
        return Refusal("an empty kernel")
    vertical, horizontal = windows(group, kernel)
    groups, inputs = int(attrs["groups"]), kernel["I"]
    channels = kernel["O"] // groups
    rows_of = Rows(kernel["H"], kernel["W"], inputs, horizontal.dilation == 1 and groups == 1)
    dot = Dot(str(x.dtype), traits.dot)
    shape = dot.shape(channels, traits)
    panels = Panels(channels, shape)
    words = [i64(panels.count * groups), i64(rows_of.count), i64(shape.columns * WORD)]
    packed = tirx.decl_buffer(words, "int8", f"{w.name}_packed")
    height, width = x.shape[1], x.shape[2]
    batch, out_h, out_w = list(group.output.shape)[:3]
    code = Code()
    zero = dot.zero(code, group.zero)
    every = i64(groups * panels.count)
    steps = kernel["H"] * kernel["W"] * inputs
    work = batch * out_h * out_w * i64(kernel["O"]) * dot.work(steps)
    with code.tasks(batch * out_h * every, "t", work) as t, code.bank():
        part, line = code.slot(t % every, "part"), code.slot(t // every, "line")
        group_at = code.slot(part // i64(panels.count), "group")
        panel = code.slot(part % i64(panels.count), "panel")
        channel = code.slot(group_at * i64(inputs), "channel")
        n, oh = code.slot(line // out_h, "n"), code.slot(line % out_h, "oh")
        top = code.slot(vertical.start(oh), "top")
        kh_first, kh_count = vertical.taps(code, top, height, "kh")
        low, high = horizontal.interior(code, width, out_w, "ow")
        blocks = Blocks(code, low, high, out_w, shape.rows)
        with code.loop(blocks.count, "block") as block:
            first, pixels, inside = blocks.locate(block)
            left = code.slot(horizontal.start(first), "left")

            def begin(rows: int, vectors: Widths, kw: Any, count: Any) -> DotRegisters:
                """Registers that begin with what the zero point adds over `count` taps from kw."""
                if zero is None:
                    return DotRegisters(code, rows, vectors, dot)
                starts: dict[int, Any] = {}
                for v, size in enumerate(vectors):
                    offset = sum(vectors[:v])
                    starts[offset] = code.register(size, "start", offset, dtype="int32")
                    code.store(starts[offset], splat(tirx.const(0, "int32"), size), ramp(0, size))
                with code.loop(kh_count, "kh") as j:
                    row = (kh_first + j) * i64(kernel["W"] + 1) + kw
                    for (offset, start), size in zip(starts.items(), vectors, strict=True):
                        after = sums_of(packed, part, row + count, offset, size)
                        before = sums_of(packed, part, row, offset, size)
                        lanes = ramp(0, size)
                        weights = splat(zero, size) * (after - before)
                        code.store(start, start[lanes] - weights, lanes)
                return DotRegisters(
                    code, rows, vectors, dot, lambda offset, size: starts[offset][ramp(0, size)]
                )

            def run(registers: DotRegisters, kw: Any, length: int, first_row: Any) -> None:
                """One pass over kernel rows, each from tap kw over `length` input bytes.

                first_row: the row of words of a kernel row's first word.
                """
                with code.loop(kh_count, "kh") as j:
                    kh = kh_first + j
                    ih = top + kh * i64(vertical.dilation)
                    iw = left + kw * i64(horizontal.dilation)
                    base = code.slot(first_row(kh), "base")

                    def data(r: int, i: Any, count: int = WORD) -> Any:
                        at = (n, ih, iw + i64(r * horizontal.stride))
                        return dot.word(x, at, channel + i * i64(WORD), count)

                    def weight(offset: int, size: int, i: Any) -> Any:
                        return packed[part, base + i, ramp(WORD * offset, WORD * size)]

                    registers.run(length // WORD, data, weight)
                    if length % WORD:
                        last = i64(length // WORD)
                        registers.multiply(
                            lambda r, _offset, size: splat(data(r, last, length % WORD), size),
                            lambda offset, size: weight(offset, size, last),
                        )

            def tap(registers: DotRegisters, kw: Any) -> None:
                def first_row(kh: Any) -> Any:
                    return i64(rows_of.taps) + (kh * i64(kernel["W"]) + kw) * i64(rows_of.per_tap)

                run(registers, kw, inputs, first_row)

            def versions(vectors: Widths, done: Callable[[Registers], None]) -> None:
                def fill(count: int) -> None:
                    registers = begin(count, vectors, i64(0), i64(kernel["W"]))
                    if rows_of.joined:
                        run(
                            registers,
                            i64(0),
                            kernel["W"] * inputs,
                            lambda kh: i64(rows_of.runs) + kh * i64(rows_of.per_run),
                        )
                    else:
                        with code.loop(kernel["W"], "kw") as kw:
                            tap(registers, kw)
                    done(registers)

                def fill_border() -> None:
                    kw_first, kw_count = horizontal.taps(code, left, width, "kw")
                    registers = begin(1, vectors, kw_first, kw_count)
                    with code.loop(kw_count, "kw") as kw:
                        tap(registers, kw_first + kw)
                    done(registers)

                interior = partial(by_rows, code, pixels, shape.rows, fill)
                code.branch([(inside, interior), (None, fill_border)])

            def at(r: Any) -> Sequence[Any]:
                return n, oh, first + r

            start = group_at * i64(channels) + panel * i64(shape.columns)
            output = Output(group, panels, panel, pixels, at, start)
            output.write(code, versions, steps)
    params = list(group.func.params)
    params[group.position(w)] = packed
    return Kernel(
        lowered(group.func, params, code.body()),
        f"int8 conv {kernel['H']}x{kernel['W']} {shape.rows}x{shape.columns} {traits.dot}",
        {group.position(w): partial(_pack, attrs["kernel_layout"], groups, rows_of, shape.columns)},
    )


def _pack(layout: str, groups: int, rows: Rows, columns: int, weight: np.ndarray) -> np.ndarray:
    """The panels of each group after those of the one before."""
    moved = weight.transpose([layout.index(c) for c in "HWIO"])
    parts = np.split(moved, groups, axis=3)
    return np.concatenate([rows.pack(part, columns) for part in parts])
