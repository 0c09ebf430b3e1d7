"""Depthwise convolution, channels last, constant weights.

Lanes run over channels. One task is one output row of one chunk of channels, two vectors wide; rows
inside chunks, so that the input rows a kernel reuses stay in the first-level cache. Interior pixels
go in small blocks with the taps of a kernel row unrolled, border pixels one by one over the taps
that lie inside the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.conv2d import Blocks, windows
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, Kernel, Refusal, i64, lowered, ramp
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import Output
from tvm_sod2.schedules.panels import Panels, Shape, Widths, by_rows
from tvm_sod2.schedules.traits import Traits

PIXELS = 4


def emit_depthwise(group: Group, traits: Traits) -> Kernel | Refusal:
    """One filter for each channel; any size, stride, padding and dilation."""
    attrs = group.attrs
    x, w = group.inputs
    if not group.packable(w):
        return Refusal("the weights cannot be packed")
    if attrs["data_layout"] != "NHWC":
        return Refusal("not channels-last")
    kernel = dict(zip(attrs["kernel_layout"], (int(d) for d in w.shape), strict=True))
    channels = kernel["O"]
    if kernel["I"] != 1 or attrs["groups"] != channels or 0 in kernel.values():
        return Refusal("not one filter for each channel")
    vertical, horizontal = windows(group, kernel)
    lanes = traits.lanes("float32")
    shape = Shape(PIXELS, 2 if channels > lanes else 1, lanes)
    chunks = Panels(channels, shape)
    taps = [i64(kernel["H"]), i64(kernel["W"]), i64(channels)]
    packed = tirx.decl_buffer(taps, "float32", f"{w.name}_packed")
    height, width = x.shape[1], x.shape[2]
    batch, out_h, out_w = list(group.output.shape)[:3]
    code = Code()
    work = batch * out_h * out_w * i64(kernel["H"] * kernel["W"] * channels)
    with code.tasks(batch * i64(chunks.count) * out_h, "t", work) as t, code.bank():
        oh, line = code.slot(t % out_h, "oh"), code.slot(t // out_h, "line")
        chunk = code.slot(line % i64(chunks.count), "chunk")
        n = code.slot(line // i64(chunks.count), "n")
        channel = code.slot(chunk * i64(shape.columns), "channel")
        top = code.slot(vertical.start(oh), "top")
        kh_first, kh_count = vertical.taps(code, top, height, "kh")
        low, high = horizontal.interior(code, width, out_w, "ow")
        blocks = Blocks(code, low, high, out_w, shape.rows)
        with code.loop(blocks.count, "block") as block:
            first, pixels, inside = blocks.locate(block)
            left = code.slot(horizontal.start(first), "left")

            def tap(registers: Registers, kh: Any, kw: Any) -> None:
                ih = top + kh * i64(vertical.dilation)
                iw = left + kw * i64(horizontal.dilation)
                registers.multiply(
                    lambda r, offset, size: x[
                        n, ih, iw + i64(r * horizontal.stride), ramp(channel + i64(offset), size)
                    ],
                    lambda offset, size: packed[kh, kw, ramp(channel + i64(offset), size)],
                )

            def versions(vectors: Widths, done: Callable[[Registers], None]) -> None:
                def fill(count: int) -> None:
                    registers = Registers(code, count, vectors, chains=1)
                    with code.loop(kh_count, "kh") as kh:
                        for kw in range(kernel["W"]):
                            tap(registers, kh_first + kh, i64(kw))
                    done(registers)

                def fill_border() -> None:
                    kw_first, kw_count = horizontal.taps(code, left, width, "kw")
                    registers = Registers(code, 1, vectors, chains=1)
                    with code.loop(kh_count, "kh") as kh, code.loop(kw_count, "kw") as kw:
                        tap(registers, kh_first + kh, kw_first + kw)
                    done(registers)

                interior = partial(by_rows, code, pixels, shape.rows, fill)
                code.branch([(inside, interior), (None, fill_border)])

            def at(r: Any) -> Sequence[Any]:
                return n, oh, first + r

            output = Output(group, chunks, chunk, pixels, at, channel)
            output.write(code, versions, kernel["H"] * kernel["W"], exact=True)
    params = list(group.func.params)
    params[group.position(w)] = packed
    return Kernel(
        lowered(group.func, params, code.body()),
        f"depthwise {kernel['H']}x{kernel['W']} {shape.rows}x{shape.columns}",
        {group.position(w): partial(_pack, attrs["kernel_layout"])},
    )


def _pack(layout: str, weight: np.ndarray) -> np.ndarray:
    moved = weight.transpose([layout.index(c) for c in "HWOI"])
    return np.ascontiguousarray(moved.reshape(moved.shape[:3]))
