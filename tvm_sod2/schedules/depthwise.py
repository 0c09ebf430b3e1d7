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
from tvm.tirx import ForKind

from tvm_sod2.schedules.conv2d import Blocks, windows
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, Kernel, Refusal, f32, i64, lowered, ramp, splat
from tvm_sod2.schedules.microkernel import Panels, Shape, Tile, by_rows, pieces
from tvm_sod2.schedules.traits import Traits

PIXELS = 4


class _Sums:
    """Zeroed accumulators for some pixels and all pieces of a chunk's channels."""

    def __init__(self, code: Code, pixels: int, columns: int, lanes: int) -> None:
        self.code, self.lanes = code, lanes
        self.pieces = pieces(columns, lanes)
        self.sums = [
            [code.register(width, "sum", r, first) for first, width in self.pieces]
            for r in range(pixels)
        ]
        for row in self.sums:
            for total, (_, width) in zip(row, self.pieces, strict=True):
                code.store(total, splat(f32(0.0), width), ramp(0, width))

    def add(self, data: Callable[[int, int, int], Any], weight: Callable[[int, int], Any]) -> None:
        """Add one tap: `data(pixel, first, width) * weight(first, width)`."""
        for i, (first, width) in enumerate(self.pieces):
            factor = weight(first, width)
            for r, row in enumerate(self.sums):
                value = row[i][ramp(0, width)] + data(r, first, width) * factor
                self.code.store(row[i], value, ramp(0, width))

    def spill(self, tile: Tile) -> None:
        """Put the sums on the stack."""
        for r, row in enumerate(self.sums):
            for total, (first, width) in zip(row, self.pieces, strict=True):
                part, offset = divmod(first, self.lanes)
                at = ramp(r * self.lanes + offset, width)
                self.code.store(tile.parts[part], total[ramp(0, width)], at)


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
    with code.loop(batch * i64(chunks.count) * out_h, "t", ForKind.PARALLEL) as t, code.bank():
        oh, line = code.slot(t % out_h, "oh"), code.slot(t // out_h, "line")
        chunk = code.slot(line % i64(chunks.count), "chunk")
        n = code.slot(line // i64(chunks.count), "n")
        channel = code.slot(chunk * i64(shape.columns), "channel")
        top = code.slot(vertical.start(oh), "top")
        kh_first, kh_count = vertical.taps(code, top, height, "kh")
        low, high = horizontal.interior(code, width, out_w, "ow")
        blocks = Blocks(code, low, high, out_w, shape.rows)
        tile = Tile(code, shape)
        with code.loop(blocks.count, "block") as block:
            first, pixels, inside = blocks.locate(block)
            left = code.slot(horizontal.start(first), "left")

            def tap(sums: _Sums, kh: Any, kw: Any) -> None:
                ih = top + kh * i64(vertical.dilation)
                iw = left + kw * i64(horizontal.dilation)
                sums.add(
                    lambda r, c, size: x[
                        n, ih, iw + i64(r * horizontal.stride), ramp(channel + i64(c), size)
                    ],
                    lambda c, size: packed[kh, kw, ramp(channel + i64(c), size)],
                )

            def fill(columns: int, count: int) -> None:
                sums = _Sums(code, count, columns, lanes)
                with code.loop(kh_count, "kh") as kh:
                    for kw in range(kernel["W"]):
                        tap(sums, kh_first + kh, i64(kw))
                sums.spill(tile)

            def fill_border(columns: int) -> None:
                kw_first, kw_count = horizontal.taps(code, left, width, "kw")
                sums = _Sums(code, 1, columns, lanes)
                with code.loop(kh_count, "kh") as kh, code.loop(kw_count, "kw") as kw:
                    tap(sums, kh_first + kh, kw_first + kw)
                sums.spill(tile)

            def fill_block(columns: int) -> None:
                rows = partial(by_rows, code, pixels, shape.rows, partial(fill, columns))
                code.branch([(inside, rows), (None, partial(fill_border, columns))])

            def at(r: Any) -> Sequence[Any]:
                return n, oh, first + r

            chunks.store(code, chunk, fill_block)
            chunks.store(code, chunk, partial(tile.store, group, pixels, at, channel))
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
