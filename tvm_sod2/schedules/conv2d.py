"""Direct convolution, channels last, constant weights; nothing is copied or padded.

A tile's rows are neighbouring output pixels of one image row; an image one pixel wide is read as
one pixel high. For an undilated kernel the inputs of one kernel row are a contiguous run of KW * I
floats, the next pixel's run starts stride * I further on: the inner loop is the GEMM's. Kernel rows
outside the image are skipped by clipping the range of the kernel-row loop; pixels whose window
crosses the left or right border are computed one by one with a clipped run. What is skipped is
exactly what zero padding would add. In a dilated or grouped convolution a run ends after each tap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.gemm import kernel_matrix
from tvm_sod2.schedules.kernel import (
    Code,
    EvenBlocks,
    Kernel,
    Refusal,
    i64,
    lowered,
    ramp,
)
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import Output
from tvm_sod2.schedules.panels import Panels, Shape, Widths, by_rows, pack_panels
from tvm_sod2.schedules.traits import Traits


@dataclass(frozen=True)
class Window:
    """Size, stride, dilation and padding of a kernel along one image axis."""

    size: int
    stride: int
    dilation: int
    before: int

    def start(self, out: Any) -> Any:
        """Input position of tap 0 for output position `out`; may be negative."""
        return out * i64(self.stride) - i64(self.before)

    def taps(self, code: Code, start: Any, extent: Any, name: str) -> tuple[Any, Any]:
        """The first tap inside an input of `extent`, and how many follow inside; never negative."""
        step = i64(self.dilation)
        zero, size = i64(0), i64(self.size)
        first = tirx.min(tirx.max(-start + step - i64(1), zero) // step, size)
        first = code.slot(first, f"{name}_first")
        end = tirx.max(extent - start + step - i64(1), zero) // step
        count = tirx.max(tirx.min(end, size) - first, zero)
        return first, code.slot(count, f"{name}_count")

    def interior(self, code: Code, extent: Any, out: Any, name: str) -> tuple[Any, Any]:
        """Output positions [low, high) whose whole window lies inside an input of `extent`."""
        low = tirx.min(i64(-(-self.before // self.stride)), out)
        low = code.slot(low, f"{name}_low")
        reach = (self.size - 1) * self.dilation - self.before
        last = tirx.floordiv(extent - i64(1 + reach), i64(self.stride))
        return low, code.slot(tirx.max(tirx.min(last + i64(1), out), low), f"{name}_high")


def windows(group: Group, kernel: dict[str, int]) -> tuple[Window, Window]:
    """The vertical and the horizontal window of a convolution."""
    attrs = group.attrs
    (sh, sw), (dh, dw) = map(tuple, (attrs["strides"], attrs["dilation"]))
    top, left = attrs["padding"][:2]
    return (
        Window(kernel["H"], int(sh), int(dh), int(top)),
        Window(kernel["W"], int(sw), int(dw), int(left)),
    )


class Blocks:
    """An output row of `out` pixels cut into single border pixels and blocks of interior ones.

    Interior pixels are those in [low, high); blocks are numbered from left to right.
    """

    def __init__(self, code: Code, low: Any, high: Any, out: Any, most: int) -> None:
        self.code, self.low, self.high = code, low, high
        self.interior = EvenBlocks(code, high - low, most)
        self.count = code.slot(low + self.interior.count + out - high, "blocks")

    def locate(self, block: Any) -> tuple[Any, Any, Any]:
        """First pixel, number of pixels and whether they are interior."""
        code, inside = self.code, self.interior.count
        inner = code.slot(block - self.low, "inner")
        start, size = self.interior.locate(inner)
        interior = tirx.all(inner >= i64(0), inner < inside)
        edge = tirx.Select(inner < i64(0), block, self.high + inner - inside)
        first = code.slot(tirx.Select(interior, self.low + start, edge), "pixel")
        return first, code.slot(tirx.Select(interior, size, i64(1)), "pixels"), interior


def emit_conv2d(group: Group, traits: Traits) -> Kernel | Refusal:
    """Convolution of any size, stride, padding, dilation and groups; constant weights."""
    attrs = group.attrs
    x, w = group.inputs
    if not group.packable(w):
        return Refusal("the weights cannot be packed")
    if attrs["data_layout"] != "NHWC":
        return Refusal("not channels-last")
    kernel = dict(zip(attrs["kernel_layout"], (int(d) for d in w.shape), strict=True))
    if 0 in kernel.values():
        return Refusal("an empty kernel")
    vertical, horizontal = windows(group, kernel)
    height, width = x.shape[1], x.shape[2]
    batch, out_h, out_w = list(group.output.shape)[:3]
    upright = kernel["W"] == 1 and all(_is_one(dim) for dim in (width, out_w))
    if upright:
        vertical, horizontal = horizontal, vertical
        height, width, out_h, out_w = width, height, out_w, out_h

    def image(line: Any, pixel: Any) -> tuple[Any, Any]:
        return (pixel, line) if upright else (line, pixel)

    groups = int(attrs["groups"])
    channels = kernel["O"] // groups
    joined = horizontal.dilation == 1 and groups == 1
    shape = Shape.for_columns(channels, traits)
    panels = Panels(channels, shape)
    steps = kernel["H"] * kernel["W"] * kernel["I"]
    count, *sizes = panels.packed_shape(steps)
    packed = tirx.decl_buffer([count * groups, *sizes], "float32", f"{w.name}_packed")
    code = Code()
    every = i64(groups * panels.count)
    work = batch * out_h * out_w * i64(steps * kernel["O"])
    with code.tasks(batch * out_h * every, "t", work) as t, code.bank():
        part, line = code.slot(t % every, "part"), code.slot(t // every, "line")
        group_at = code.slot(part // i64(panels.count), "group")
        panel = code.slot(part % i64(panels.count), "panel")
        channel = code.slot(group_at * i64(kernel["I"]), "channel")
        n, oh = code.slot(line // out_h, "n"), code.slot(line % out_h, "oh")
        top = code.slot(vertical.start(oh), "top")
        kh_first, kh_count = vertical.taps(code, top, height, "kh")
        low, high = horizontal.interior(code, width, out_w, "ow")
        blocks = Blocks(code, low, high, out_w, shape.rows)
        with code.loop(blocks.count, "block") as block:
            first, pixels, inside = blocks.locate(block)
            left = code.slot(horizontal.start(first), "left")

            def run(registers: Registers, kw: Any, length: Any) -> None:
                """One pass over kernel rows, each from tap kw over `length` input floats."""
                with code.loop(kh_count, "kh") as j:
                    kh = kh_first + j
                    ih = top + kh * i64(vertical.dilation)
                    base = (kh * i64(horizontal.size) + kw) * i64(kernel["I"])
                    iw = left + kw * i64(horizontal.dilation)
                    registers.run(
                        length,
                        lambda r, i: x[
                            (n, *image(ih, iw + i64(r * horizontal.stride)), channel + i)
                        ],
                        lambda offset, size, i: packed[part, base + i, ramp(offset, size)],
                    )

            def versions(vectors: Widths, done: Callable[[Registers], None]) -> None:
                def fill(count: int) -> None:
                    registers = Registers(code, count, vectors)
                    if joined:
                        run(registers, i64(0), horizontal.size * kernel["I"])
                    else:
                        with code.loop(horizontal.size, "kw") as kw:
                            run(registers, kw, kernel["I"])
                    done(registers)

                def fill_border() -> None:
                    kw_first, kw_count = horizontal.taps(code, left, width, "kw")
                    registers = Registers(code, 1, vectors)
                    if joined:
                        run(registers, kw_first, kw_count * i64(kernel["I"]))
                    else:
                        with code.loop(kw_count, "kw") as kw:
                            run(registers, kw_first + kw, kernel["I"])
                    done(registers)

                interior = partial(by_rows, code, pixels, shape.rows, fill)
                code.branch([(inside, interior), (None, fill_border)])

            def at(r: Any) -> Sequence[Any]:
                return n, *image(oh, first + r)

            start = group_at * i64(channels) + panel * i64(shape.columns)
            output = Output(group, panels, panel, pixels, at, start)
            output.write(code, versions, steps)
    params = list(group.func.params)
    params[group.position(w)] = packed
    return Kernel(
        lowered(group.func, params, code.body()),
        f"conv {kernel['H']}x{kernel['W']} {shape.rows}x{shape.columns}",
        {group.position(w): partial(_pack, attrs["kernel_layout"], groups, shape.columns)},
    )


def _is_one(dim: Any) -> bool:
    return isinstance(dim, tirx.IntImm) and dim.value == 1


def _pack(layout: str, groups: int, columns: int, weight: np.ndarray) -> np.ndarray:
    """The panels of each group after those of the one before."""
    parts = np.split(weight, groups, axis=layout.index("O"))
    return np.concatenate([pack_panels(kernel_matrix(layout, part), columns) for part in parts])
