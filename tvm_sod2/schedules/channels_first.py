"""Convolution of channels-first images with a short reduction, constant weights.

Lanes run over neighbouring output pixels, a tile's rows over output channels. A task is a part of
an output row of one group: its inputs are laid out once, see channels_first_inputs.py, and serve
all output channels, so the result lies channels first without a transpose. The last tile of a row
ends with it and may repeat pixels of the one before, as the last block of channels may repeat
channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.channels_first_inputs import Classes, Inputs, pack
from tvm_sod2.schedules.convolution import Convolution, read_convolution
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, Kernel, Refusal, i64
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import Output, Tile
from tvm_sod2.schedules.panels import Panels, Shape, Widths
from tvm_sod2.schedules.traits import Traits

_MOST_TILES = 8  # side by side in a task: a kilobyte of each channel's row

_NARROW = 3  # columns of a filter that channels-last code is as fast with, for want of products

_FEW = 2  # channels of a tile that leave registers for twice as many pixels

_LINE = 16  # elements of a cache line


def emit_channels_first(group: Group, traits: Traits) -> Kernel | Refusal:
    """Convolution of any size, stride, padding, dilation and groups; constant weights."""
    conv = _read(group)
    if isinstance(conv, Refusal):
        return conv
    if conv.empty:
        return Refusal("an empty kernel")
    channels = conv.sizes["O"] // conv.groups
    shape = Shape.for_columns(2 * traits.lanes("float32"), traits)
    # Fewer rows than a tile may have, if that leaves fewer over.
    most = min(shape.rows, channels)
    some = range(most, max(most * 2 // 3 - 1, 0), -1)
    rows = min(some, key=lambda rows: -(-channels // rows) * rows)
    shape = replace(shape, rows=rows, vectors=shape.vectors * (2 if rows <= _FEW else 1))
    dims = [i64(d) for d in (conv.groups * -(-channels // rows), conv.steps, rows)]
    packed = tirx.decl_buffer(dims, "float32", f"{conv.weights.name}_packed")
    classes = Classes.of(conv.horizontal)
    # Wide parts have few borders; the second-level cache feeds a tile as fast as it multiplies.
    lines = conv.sizes["H"] * conv.sizes["I"] * classes.count
    tiles = traits.l2_bytes // 8 // (4 * lines * shape.columns)
    width = shape.columns * min(max(tiles, 1), _MOST_TILES)
    code = Code()
    inputs = Inputs(code, conv, classes, shape.lanes, width)
    _Rows(code, group, conv, shape, packed, inputs).write()
    return group.emitted(
        code,
        f"channels-first conv {conv.sizes['H']}x{conv.sizes['W']} {rows}x{shape.columns}",
        conv.weights,
        packed,
        partial(pack, conv.layout, conv.groups, rows),
    )


def _read(group: Group) -> Convolution | Refusal:
    """Images of several channels lie channels first; of one, they may lie channels last."""
    conv = read_convolution(group, "NCHW")
    last = read_convolution(group)
    if isinstance(last, Refusal) or (last.sizes["I"], last.sizes["O"]) != (1, 1):
        return conv
    if last.sizes["W"] <= _NARROW or last.lying() is not last:
        return Refusal("few columns")
    return last


@dataclass(frozen=True)
class _Rows:
    """The output's rows in parts of up to as many pixels as `inputs` takes, whole tiles."""

    code: Code
    group: Group
    conv: Convolution
    shape: Shape
    packed: Any
    inputs: Inputs

    def write(self) -> None:
        """All rows of all images."""
        code, conv, width = self.code, self.conv, i64(self.inputs.width)
        lanes, (down, across) = self.shape.lanes, conv.windows
        # A part is a vector wide at least unless the row is narrower.
        last = code.slot(tirx.max(across.out - i64(lanes), i64(0)), "last")
        count = code.slot((across.out + width - i64(1)) // width, "parts")
        work = conv.pixels * i64(conv.steps * conv.sizes["O"])
        planes = conv.batch * i64(conv.groups)
        with code.tasks(planes * down.out * count, "t", work) as t, code.bank():
            part, line = code.slot(t % count, "part"), code.slot(t // count, "line")
            plane, oh = code.slot(line // down.out, "plane"), code.slot(line % down.out, "oh")
            n, group = plane // i64(conv.groups), plane % i64(conv.groups)
            n, group = code.slot(n, "n"), code.slot(group, "group")
            first = code.slot(tirx.min(part * width, last), "pixel")
            pixels = code.slot(tirx.min(across.out - first, width), "pixels")
            rows = self.inputs.fill(n, group, oh, first, pixels)
            self._multiply(rows, n, group, oh, first, pixels)

    def _multiply(
        self, rows: tuple[Any, Any], n: Any, group: Any, oh: Any, first: Any, pixels: Any
    ) -> None:
        """Wide tiles, and those of one vector for what is left or where the row is too short."""
        code, shape, conv = self.code, self.shape, self.conv
        channels, lanes, columns = conv.sizes["O"] // conv.groups, shape.lanes, i64(shape.columns)
        blocks = -(-channels // shape.rows)
        vectors = code.slot((pixels + i64(lanes - 1)) // i64(lanes), "vectors")
        wide = tirx.Select(pixels >= columns, vectors // i64(shape.vectors), i64(0))
        wide = code.slot(wide, "wide")
        saved = code.slot(wide * i64(shape.vectors - 1), "saved")
        tiles = code.slot(vectors - saved, "tiles")
        with code.loop(blocks, "block") as block, code.loop(tiles, "tile") as tile:
            start = tirx.min(block * i64(shape.rows), i64(channels - shape.rows))
            channel = code.slot(group * i64(channels) + start, "channel")
            # At run time, so that LLVM does not unroll a loop over them.
            count = code.slot(tirx.min(i64(shape.rows), i64(channels) - start), "rows")
            weights = code.slot(group * i64(blocks) + block, "weights")

            def lead(r: Any) -> Sequence[Any]:
                return (n, oh, channel + r) if conv.channels_last else (n, channel + r, oh)

            def several() -> None:
                at = code.slot(tirx.min(tile * columns, pixels - columns), "at")
                self._fetch(lead, first + at)

                def versions(widths: Widths, done: Callable[[Registers], None]) -> None:
                    done(self._sums(at, weights, rows, widths))

                panels = Panels(shape.columns, shape)
                start, last = first + at, conv.channels_last
                output = Output(self.group, panels, i64(0), count, lead, start, last)
                output.write(code, versions, conv.steps)

            def one() -> None:
                at = (saved + tile) * i64(lanes)
                at = code.slot(tirx.max(tirx.min(at, pixels - i64(lanes)), i64(0)), "at")
                stack = Tile(code, replace(shape, vectors=1))
                stack.put(self._sums(at, weights, rows, (lanes,)))
                self._store(stack, lead, first + at, count, pixels)

            code.branch([(tile < wide, several), (None, one)])

    def _sums(self, at: Any, weights: Any, rows: tuple[Any, Any], vectors: Widths) -> Registers:
        """The sums of a block of channels over the kernel rows that lie inside the image."""
        conv, each = self.conv, self.conv.steps // self.conv.sizes["H"]
        padded = conv.vertical.before or conv.vertical.after
        outside = self.code.slot(rows[0] * i64(each), "outside")
        registers = Registers(self.code, self.shape.rows, vectors)
        registers.run(
            rows[1] * i64(each) if padded else conv.steps,
            lambda r, k: self.packed[weights, outside + k, i64(r)],
            lambda offset, size, k: self.inputs.under(k, at + i64(offset), size),
        )
        return registers

    def _fetch(self, lead: Callable[[Any], Sequence[Any]], first: Any) -> None:
        """Ask for the lines that a tile will be stored in: the machine does not foresee them."""
        write, nearest, data = (tirx.const(n, "int32") for n in (1, 3, 1))
        for r in range(self.shape.rows):
            for column in range(0, self.shape.columns, _LINE):
                at = self.group.output[tuple(self._index(lead(i64(r)), first + i64(column)))]
                where = tirx.call_intrin("handle", "tirx.address_of", at)
                call = tirx.call_llvm_intrin("void", "llvm.prefetch", where, write, nearest, data)
                self.code.add(tirx.Evaluate(call))

    def _index(self, lead: Sequence[Any], pixel: Any) -> list[Any]:
        last = self.conv.channels_last
        return [*lead[:-1], pixel, lead[-1]] if last else [*lead, pixel]

    def _store(
        self, tile: Tile, lead: Callable[[Any], Sequence[Any]], first: Any, rows: Any, pixels: Any
    ) -> None:
        """A tile of one vector, or of the whole part where that is shorter."""
        code, group, lanes = self.code, self.group, self.shape.lanes

        def put(r: Any, lane: Any) -> None:
            index = self._index(lead(r), first + lane)
            value = group.stored(tile.parts[0][r * i64(lanes) + lane], index)
            code.store(group.output, value, *index)

        def whole() -> None:
            with code.loop(rows, "r") as r, code.vector(lanes) as lane:
                put(r, lane)

        def some() -> None:
            with code.loop(rows, "r") as r, code.loop(pixels, "lane") as lane:
                put(r, lane)

        code.branch([(pixels >= i64(lanes), whole), (None, some)])
