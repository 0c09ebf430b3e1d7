"""Transposed convolution whose kernel is its stride, as in segmentation heads that double an image.

No two taps meet in one output pixel, so each tap is a 1x1 convolution that writes every stride-th
pixel. With few output channels all taps share one panel of columns, and a tile's finished rows,
which lie side by side in each output row, are stored as one run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.convolution import read_convolution
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, Kernel, Refusal, i64, ramp
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import Output, Tile
from tvm_sod2.schedules.panels import (
    Panels,
    Shape,
    Widths,
    by_rows,
    pack_panels,
    pieces,
    widths,
)
from tvm_sod2.schedules.traits import Traits


def emit_conv2d_transpose(group: Group, traits: Traits) -> Kernel | Refusal:
    """Ungrouped, unpadded, undilated, kernel size equal to stride, constant weights."""
    conv = read_convolution(group)
    if isinstance(conv, Refusal):
        return conv
    if conv.groups != 1:
        return Refusal("grouped")
    padding = (*group.attrs["padding"], *group.attrs["output_padding"])
    meets = any(window.size != window.stride for window in conv.windows)
    if meets or any(int(p) != 0 for p in padding) or conv.empty:
        return Refusal("the kernel is not the stride, or there is padding")
    if any(window.dilation != 1 for window in conv.windows):
        return Refusal("dilated")
    dims, kernel = conv.sizes, [window.size for window in conv.windows]
    lanes = traits.lanes("float32")
    taps = kernel[0] * kernel[1]
    together = taps * dims["O"] <= lanes
    columns = taps * dims["O"] if together else dims["O"]
    shape = Shape.for_columns(columns, traits)
    panels = Panels(columns, shape)
    passes = 1 if together else taps
    count = passes * panels.count
    packed = tirx.decl_buffer(
        [i64(count), i64(dims["I"]), i64(shape.columns)], "float32", f"{conv.weights.name}_packed"
    )
    batch, height, width = conv.batch, conv.vertical.extent, conv.horizontal.extent
    blocks = (width + i64(shape.rows - 1)) // i64(shape.rows)
    code = Code()
    work = batch * height * width * i64(dims["I"] * taps * dims["O"])
    with code.tasks(batch * height * i64(count), "t", work) as t, code.bank():
        part, line = code.slot(t % i64(count), "part"), code.slot(t // i64(count), "line")
        n, h = code.slot(line // height, "n"), code.slot(line % height, "h")
        panel = code.slot(part % i64(panels.count), "panel")
        tap = code.slot(part // i64(panels.count), "tap")
        kh, kw = tap // i64(kernel[1]), tap % i64(kernel[1])
        oh = code.slot(h * i64(kernel[0]) + kh, "oh")
        with code.loop(blocks, "block") as block:
            first = code.slot(block * i64(shape.rows), "first")
            rows = code.slot(tirx.min(width - first, i64(shape.rows)), "rows")

            def versions(vectors: Widths, done: Callable[[Registers], None]) -> None:
                def fill(count: int) -> None:
                    registers = Registers(code, count, vectors)
                    registers.run(
                        dims["I"],
                        lambda r, i: conv.data[n, h, first + i64(r), i],
                        lambda offset, size, i: packed[part, i, ramp(offset, size)],
                    )
                    done(registers)

                by_rows(code, rows, shape.rows, fill)

            def at(r: Any) -> Sequence[Any]:
                return n, oh, (first + r) * i64(kernel[1]) + kw

            if together:
                tile = Tile(code, shape)
                versions(widths(columns, lanes), tile.put)
                for j in range(kernel[0]):
                    run = _Run(kernel[1], dims["O"], j * kernel[1] * dims["O"])
                    run.store(group, tile, rows, (n, oh + i64(j)), first)
            else:
                output = Output(group, panels, panel, rows, at, panel * i64(shape.columns))
                output.write(code, versions, dims["I"])
    return group.emitted(
        code,
        f"transposed conv {kernel[0]}x{kernel[1]} {shape.rows}x{shape.columns}",
        conv.weights,
        packed,
        partial(_pack, conv.layout, shape.columns, together),
    )


class _Run:
    """`width` taps of `channels` columns from column `first`: one run of output for each row."""

    def __init__(self, width: int, channels: int, first: int) -> None:
        self.width, self.channels, self.first = width, channels, first

    def store(self, group: Group, tile: Tile, rows: Any, lead: tuple[Any, Any], pixel: Any) -> None:
        """Store `rows` rows of a tile from input pixel `pixel` on, a full tile in vectors."""
        length, lanes = self.width * self.channels, tile.shape.lanes
        code = tile.code

        def store(start: Any, width: int) -> None:
            with code.vector(width) as j:
                e = start + j
                at = e // i64(length) * i64(lanes) + i64(self.first) + e % i64(length)
                column = pixel * i64(self.width) + e // i64(self.channels)
                index = [*lead, column, e % i64(self.channels)]
                code.store(group.output, group.stored(tile.parts[0][at], index), *index)

        def full() -> None:
            for start, width in pieces(tile.shape.rows * length, lanes):
                store(i64(start), width)

        def partly() -> None:
            with code.loop(rows * i64(length), "e") as e:
                store(e, 1)

        code.branch([(rows == i64(tile.shape.rows), full), (None, partly)])


def _pack(layout: str, columns: int, together: bool, weight: np.ndarray) -> np.ndarray:
    """[panels, I, columns], panels of one tap side by side; taps in one panel if `together`."""
    moved = weight.transpose([layout.index(c) for c in "HWIO"])
    kh, kw, inputs, outputs = moved.shape
    if together:
        return pack_panels(moved.transpose(2, 0, 1, 3).reshape(inputs, -1), columns)
    taps = moved.reshape(kh * kw, inputs, outputs)
    return np.concatenate([pack_panels(tap, columns) for tap in taps])
