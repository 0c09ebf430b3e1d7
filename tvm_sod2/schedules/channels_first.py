"""Convolution of channels-first images with a short reduction, constant weights.

Lanes run over neighbouring output pixels, a tile's rows over output channels. A task is a part of
an output row: its inputs are laid out once as a matrix [KH * I * KW, pixels], which then serves all
output channels, so the result lies channels first without a transpose. The last tile of a row ends
with it and may repeat pixels of the one before, as the last block of channels may repeat channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.convolution import Convolution, read_convolution
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, Kernel, Refusal, f32, i64, ramp, splat
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import Output, Tile
from tvm_sod2.schedules.panels import Panels, Shape, Widths
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.transpose import shuffled

_MOST_TILES = 8  # side by side in a task: a kilobyte of each channel's row

_SHUFFLED = 8  # strides up to this one are taken out of whole vectors

_LINE = 16  # elements of a cache line

# A part of an input row as a vector or a scalar, by its first position and number of lanes.
Row = Callable[[Any, int], Any]


def emit_channels_first(group: Group, traits: Traits) -> Kernel | Refusal:
    """Ungrouped convolution of any size, stride, padding and dilation; constant weights."""
    conv = read_convolution(group, "NCHW")
    if isinstance(conv, Refusal):
        return conv
    if conv.groups != 1:
        return Refusal("grouped")
    if conv.empty:
        return Refusal("an empty kernel")
    channels, steps = conv.sizes["O"], conv.steps
    shape = Shape.for_columns(2 * traits.lanes("float32"), traits)
    # Fewer rows than a tile may have, if that leaves fewer over.
    most = min(shape.rows, channels)
    some = range(most, max(most * 2 // 3 - 1, 0), -1)
    rows = min(some, key=lambda rows: -(-channels // rows) * rows)
    blocks, shape = -(-channels // rows), replace(shape, rows=rows)
    dims = [i64(d) for d in (blocks, steps, shape.rows)]
    packed = tirx.decl_buffer(dims, "float32", f"{conv.weights.name}_packed")
    # Wide parts have few borders; the second-level cache feeds a tile as fast as it multiplies.
    tiles = traits.l2_bytes // 8 // (4 * steps * shape.columns)
    code = Code()
    width = shape.columns * min(max(tiles, 1), _MOST_TILES)
    _Rows(code, group, conv, shape, packed, width).write()
    return group.emitted(
        code,
        f"channels-first conv {conv.sizes['H']}x{conv.sizes['W']} {shape.rows}x{shape.columns}",
        conv.weights,
        packed,
        partial(_pack, conv.layout, blocks, shape.rows),
    )


@dataclass(frozen=True)
class _Rows:
    """The output's rows in parts of up to `width` pixels, a multiple of a tile's columns."""

    code: Code
    group: Group
    conv: Convolution
    shape: Shape
    packed: Any
    width: int

    def write(self) -> None:
        """All rows of all images."""
        code, conv = self.code, self.conv
        lanes, (down, across) = self.shape.lanes, conv.windows
        # A part is a vector wide at least unless the row is narrower.
        last = code.slot(tirx.max(across.out - i64(lanes), i64(0)), "last")
        count = code.slot((across.out + i64(self.width - 1)) // i64(self.width), "parts")
        work = conv.pixels * i64(conv.steps * conv.sizes["O"])
        with code.tasks(conv.batch * down.out * count, "t", work) as t, code.bank():
            part, line = code.slot(t % count, "part"), code.slot(t // count, "line")
            n, oh = code.slot(line // down.out, "n"), code.slot(line % down.out, "oh")
            first = code.slot(tirx.min(part * i64(self.width), last), "pixel")
            pixels = code.slot(tirx.min(across.out - first, i64(self.width)), "pixels")
            top = code.slot(down.start(oh), "top")
            rows = down.taps(code, top, "kh")
            matrix = code.buffer(conv.steps * self.width, "matrix")
            vectors = code.slot((pixels + i64(lanes - 1)) // i64(lanes), "vectors")
            self._fill(matrix, n, top, code.slot(across.start(first), "left"), rows, vectors)
            self._multiply(matrix, rows, n, oh, first, pixels, vectors)

    def _multiply(
        self,
        matrix: Any,
        rows: tuple[Any, Any],
        n: Any,
        oh: Any,
        first: Any,
        pixels: Any,
        vectors: Any,
    ) -> None:
        """Tiles of two vectors, and of one where their number is odd or the row is too short."""
        code, shape, channels = self.code, self.shape, self.conv.sizes["O"]
        lanes, columns = i64(shape.lanes), i64(shape.columns)
        wide = code.slot(tirx.Select(pixels >= columns, vectors // i64(2), i64(0)), "wide")
        tiles = code.slot(vectors - wide, "tiles")
        with code.loop(self.packed.shape[0], "block") as block, code.loop(tiles, "tile") as tile:
            channel = tirx.min(block * i64(shape.rows), i64(channels - shape.rows))
            channel = code.slot(channel, "channel")
            # At run time, so that LLVM does not unroll a loop over them.
            count = code.slot(tirx.min(i64(shape.rows), i64(channels) - channel), "rows")

            def lead(r: Any) -> Sequence[Any]:
                return n, channel + r, oh

            def two() -> None:
                at = code.slot(tirx.min(tile * columns, pixels - columns), "at")
                self._fetch(lead, first + at)

                def versions(widths: Widths, done: Callable[[Registers], None]) -> None:
                    done(self._sums(matrix, at, block, rows, widths))

                panels = Panels(shape.columns, shape)
                output = Output(self.group, panels, i64(0), count, lead, first + at)
                output.write(code, versions, self.conv.steps)

            def one() -> None:
                at = tirx.max(tirx.min((wide + tile) * lanes, pixels - lanes), i64(0))
                at = code.slot(at, "at")
                stack = Tile(code, replace(shape, vectors=1))
                stack.put(self._sums(matrix, at, block, rows, (shape.lanes,)))
                self._store(stack, lead, first + at, count, pixels)

            code.branch([(tile < wide, two), (None, one)])

    def _sums(
        self, matrix: Any, at: Any, block: Any, rows: tuple[Any, Any], vectors: Widths
    ) -> Registers:
        """The sums of a block of channels over the kernel rows that lie inside the image."""
        conv = self.conv
        each = conv.steps // conv.sizes["H"]
        padded = conv.vertical.before or conv.vertical.after
        base = self.code.slot(rows[0] * i64(each), "base")
        registers = Registers(self.code, self.shape.rows, vectors)
        registers.run(
            rows[1] * i64(each) if padded else conv.steps,
            lambda r, k: self.packed[block, base + k, i64(r)],
            lambda offset, size, k: matrix[
                ramp((base + k) * i64(self.width) + at + i64(offset), size)
            ],
        )
        return registers

    def _fetch(self, lead: Callable[[Any], Sequence[Any]], first: Any) -> None:
        """Ask for the lines that a tile will be stored in: the machine does not foresee them."""
        write, nearest, data = (tirx.const(n, "int32") for n in (1, 3, 1))
        for r in range(self.shape.rows):
            for column in range(0, self.shape.columns, _LINE):
                at = self.group.output[(*lead(i64(r)), first + i64(column))]
                where = tirx.call_intrin("handle", "tirx.address_of", at)
                call = tirx.call_llvm_intrin("void", "llvm.prefetch", where, write, nearest, data)
                self.code.add(tirx.Evaluate(call))

    def _store(
        self, tile: Tile, lead: Callable[[Any], Sequence[Any]], first: Any, rows: Any, pixels: Any
    ) -> None:
        """A tile of one vector, or of the whole part where that is shorter."""
        code, group, lanes = self.code, self.group, self.shape.lanes

        def put(r: Any, lane: Any) -> None:
            index = [*lead(r), first + lane]
            value = group.stored(tile.parts[0][r * i64(lanes) + lane], index)
            code.store(group.output, value, *index)

        def whole() -> None:
            with code.loop(rows, "r") as r, code.vector(lanes) as lane:
                put(r, lane)

        def some() -> None:
            with code.loop(rows, "r") as r, code.loop(pixels, "lane") as lane:
                put(r, lane)

        code.branch([(pixels >= i64(lanes), whole), (None, some)])

    def _fill(
        self, matrix: Any, n: Any, top: Any, left: Any, rows: tuple[Any, Any], vectors: Any
    ) -> None:
        """The inputs under the part; kernel rows outside the image are left out."""
        code, conv, across, lanes = self.code, self.conv, self.conv.horizontal, self.shape.lanes
        # Strides are taken out of whole vectors, the last of which ends a stride behind a pixel.
        behind = (across.size - 1) * across.dilation
        span = code.slot(vectors * i64(lanes * across.stride) + i64(behind), "span")
        inside = tirx.all(left >= i64(0), left + span <= across.extent)

        def each(write: Callable[[Any, Row], None]) -> None:
            """For each row of inputs: number of its first row of the matrix, and the row."""
            inputs, taps = i64(conv.sizes["I"]), i64(across.size)
            with code.loop(rows[1], "kh") as kh, code.loop(inputs, "i") as i:
                line = top + (rows[0] + kh) * i64(conv.vertical.dilation)

                def row(start: Any, lanes: int) -> Any:
                    return conv.data[n, i, line, ramp(left + start, lanes)]

                write(code.slot(((rows[0] + kh) * inputs + i) * taps, "number"), row)

        def direct() -> None:
            each(partial(self._spread, matrix, vectors))

        def bordered() -> None:
            """Through a row with zeros beyond the image."""
            longest = self.width * across.stride + behind
            padded = code.buffer(-(-longest // lanes) * lanes, "padded")
            low = code.slot(tirx.min(tirx.max(-left, i64(0)), span), "low")
            high = tirx.max(tirx.min(across.extent - left, span), low)
            known = code.slot(high - low, "known")
            with code.loop((span + i64(lanes - 1)) // i64(lanes), "v") as v:
                code.store(padded, splat(f32(0.0), lanes), ramp(v * i64(lanes), lanes))

            def write(number: Any, row: Row) -> None:
                with code.loop(known, "j") as j:
                    code.store(padded, row(low + j, 1), low + j)
                self._spread(matrix, vectors, number, lambda start, size: padded[ramp(start, size)])

            each(write)

        code.branch([(inside, direct), (None, bordered)])

    def _spread(self, matrix: Any, count: Any, number: Any, row: Row) -> None:
        """A row of inputs as rows of the matrix from a number on, one for each tap."""
        code, across, lanes = self.code, self.conv.horizontal, self.shape.lanes
        stride = across.stride
        every = [stride * lane for lane in range(lanes)]
        with code.loop(count, "v") as v, code.loop(across.size, "kw") as kw:
            to = (number + kw) * i64(self.width) + v * i64(lanes)
            start = v * i64(lanes * stride) + kw * i64(across.dilation)
            if stride > _SHUFFLED:
                with code.loop(lanes, "p") as p:
                    code.store(matrix, row(start + p * i64(stride), 1), to + p)
                return
            vectors = [row(start + i64(j * lanes), lanes) for j in range(stride)]
            value = vectors[0] if stride == 1 else shuffled(vectors, every)
            code.store(matrix, value, ramp(to, lanes))


def _pack(layout: str, blocks: int, rows: int, weight: np.ndarray) -> np.ndarray:
    """[blocks, KH * I * KW, rows]; the last block ends with the last channel."""
    moved = weight.transpose([layout.index(c) for c in "OHIW"])
    matrix = moved.reshape(len(moved), -1)
    starts = [min(block * rows, len(matrix) - rows) for block in range(blocks)]
    return np.stack([matrix[start : start + rows].T for start in starts])
