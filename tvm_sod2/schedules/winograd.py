"""3x3 convolution of stride 1 by Winograd's F(4x4, 3x3), channels last, constant weights.

A 4x4 tile of outputs takes 36 multiplications for each pair of channels instead of 144. A task is a
block of up to 12 tiles: their 6x6 inputs are transformed into a scratch of [36, tiles, I], 36 small
GEMMs with the transformed weights give [36, tiles, O], and these are transformed back. Tiles that
cross the image's border read through a zero-filled patch; of what they compute, only the pixels
inside are stored. A task's scratch has a constant size and comes from TVM's pool of thread-local
memory. Where the kernel transforms the weights itself, it convolves small images directly: see
winograd_weights.py and winograd_choice.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.conv2d import convolve
from tvm_sod2.schedules.convolution import read_convolution
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import (
    Code,
    EvenBlocks,
    Kernel,
    Refusal,
    f32,
    i64,
    lowered,
    ramp,
    splat,
)
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.panels import (
    Panels,
    Shape,
    Widths,
    by_rows,
    pieces,
    widths,
)
from tvm_sod2.schedules.rules import SCRATCH
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.winograd_choice import Choice
from tvm_sod2.schedules.winograd_matrices import (
    IN,
    OUT,
    transform_data,
    transform_output,
)
from tvm_sod2.schedules.winograd_weights import (
    declare,
    named,
    pack_weights,
    transform,
    transformed_at_build,
)

# Below this many channels on either side the transforms cost more than they save.
FEWEST_CHANNELS = 16

POINTS = IN * IN


@dataclass(frozen=True)
class _Task:
    """What the three steps of one task share."""

    code: Code
    group: Group
    shape: Shape
    panels: Panels
    weights: Any
    data: Any
    products: Any
    patch: Any
    padding: tuple[int, int]
    n: Any
    first: Any
    rows: Any
    across: Any

    def corner(self, r: Any) -> tuple[Any, Any]:
        """First output row and column of the block's tile r."""
        tile = self.code.slot(self.first + r, "tile")
        y = self.code.slot(tile // self.across * i64(OUT), "y")
        return y, self.code.slot(tile % self.across * i64(OUT), "x")


def emit_winograd(group: Group, traits: Traits) -> Kernel | Refusal:
    """Ungrouped, undilated 3x3 convolution of stride 1 with enough channels."""
    conv = read_convolution(group)
    if isinstance(conv, Refusal):
        return conv
    if conv.groups != 1:
        return Refusal("grouped")
    if any((w.size, w.stride, w.dilation) != (3, 1, 1) for w in conv.windows):
        return Refusal("not 3x3 with stride 1")
    depth, channels = conv.sizes["I"], conv.sizes["O"]
    if min(depth, channels) < FEWEST_CHANNELS:
        return Refusal(f"fewer than {FEWEST_CHANNELS} channels")
    shape = Shape.for_columns(channels, traits)
    panels = Panels(channels, shape)
    code = Code()
    constant = transformed_at_build(panels, depth)
    packed, weights = declare(code, conv.weights.name, panels, depth)
    name = f"winograd 4x4 {shape.rows}x{shape.columns}"

    def winograd() -> None:
        if not constant:
            transform(code, packed, weights, shape.lanes)
        _winograd(code, group, panels, weights, depth)

    if constant:
        winograd()
    else:
        choice = Choice.between(depth, channels, traits)
        tiles = conv.batch * _tiles(conv.vertical.out) * _tiles(conv.horizontal.out)
        narrow = replace(panels, shape=replace(shape, rows=shape.rows // 2))
        direct = partial(convolve, code, group, conv, narrow, packed)
        code.branch([(choice.direct(conv.pixels, tiles), direct), (None, winograd)])
        name = f"{name} where {choice}, else conv 3x3 {narrow.shape.rows}x{shape.columns}"
    params = list(group.func.params)
    params[group.position(conv.weights)] = packed
    return Kernel(
        lowered(group.func, params, code.body()).with_attr(SCRATCH, True),
        name,
        {group.position(conv.weights): partial(pack_weights, conv.layout, panels)},
    )


def _tiles(extent: Any) -> Any:
    """Tiles that cover an axis of the output."""
    return (extent + i64(OUT - 1)) // i64(OUT)


def _winograd(code: Code, group: Group, panels: Panels, weights: Any, depth: int) -> None:
    """The tasks, with weights that are transformed."""
    x, shape = group.inputs[0], panels.shape
    batch, out_h, out_w = list(group.output.shape)[:3]
    across = _tiles(out_w)
    blocks = EvenBlocks(code, _tiles(out_h) * across, shape.rows)
    # Of nine multiplications a direct convolution needs, 36 / 16 are left.
    work = batch * out_h * out_w * i64(depth * panels.n * POINTS // OUT**2)
    with code.tasks(batch * blocks.count, "t", work) as t, code.bank():
        first, rows = blocks.locate(t % blocks.count)
        task = _Task(
            code,
            group,
            shape,
            panels,
            weights,
            code.buffer(POINTS * shape.rows * depth, "data"),
            code.buffer(POINTS * shape.rows * panels.count * shape.columns, "products"),
            code.buffer(POINTS * shape.lanes, "patch"),
            (int(group.attrs["padding"][0]), int(group.attrs["padding"][1])),
            code.slot(t // blocks.count, "n"),
            first,
            rows,
            code.slot(across, "across"),
        )
        _transform_inputs(task, x, depth)
        _multiply(task, depth)
        _transform_outputs(task, panels.n)


def _transform_inputs(task: _Task, x: Any, depth: int) -> None:
    """The block's 6x6 inputs, transformed, into data [36, tiles, depth]."""
    code, lanes = task.code, task.shape.lanes
    height, width = x.shape[1], x.shape[2]
    with code.loop(task.rows, "r") as r:
        y, z = task.corner(r)
        top = code.slot(y - i64(task.padding[0]), "top")
        left = code.slot(z - i64(task.padding[1]), "left")
        inside = tirx.all(
            top >= i64(0), left >= i64(0), top + i64(IN) <= height, left + i64(IN) <= width
        )

        def transform(channel: Any, size: int) -> None:
            def direct(i: int, j: int) -> Any:
                return x[task.n, top + i64(i), left + i64(j), ramp(channel, size)]

            def patched(i: int, j: int) -> Any:
                return task.patch[ramp((i * IN + j) * lanes, size)]

            def through_patch() -> None:
                with code.loop(IN, "i") as i, code.loop(IN, "j") as j:
                    ih, iw = top + i, left + j
                    at = ramp((i * i64(IN) + j) * i64(lanes), size)
                    valid = tirx.all(ih >= i64(0), iw >= i64(0), ih < height, iw < width)
                    value = x[task.n, ih, iw, ramp(channel, size)]
                    zero = splat(f32(0.0), size)
                    code.branch(
                        [
                            (valid, lambda: code.store(task.patch, value, at)),
                            (None, lambda: code.store(task.patch, zero, at)),
                        ]
                    )
                write(patched)

            def write(load: Callable[[int, int], Any]) -> None:
                name = named(code, size)
                lines = [
                    transform_data([load(i, j) for j in range(IN)], size, name) for i in range(IN)
                ]
                for j in range(IN):
                    column = transform_data([line[j] for line in lines], size, name)
                    for i, value in enumerate(column):
                        row = i64((i * IN + j) * task.shape.rows) + r
                        code.store(task.data, value, ramp(row * i64(depth) + channel, size))

            code.branch([(inside, lambda: write(direct)), (None, through_patch)])

        with code.loop(depth // lanes, "c") as c:
            transform(c * i64(lanes), lanes)
        for start, size in pieces(depth % lanes, lanes):
            transform(i64(depth - depth % lanes + start), size)


def _multiply(task: _Task, depth: int) -> None:
    """products [36, tiles, columns] = data [36, tiles, depth] @ weights [36, depth, columns]."""
    code, shape, panels = task.code, task.shape, task.panels
    row_size = panels.count * shape.columns
    with code.loop(POINTS, "point") as point, code.loop(panels.count, "panel") as panel:

        def fill(vectors: Widths, rows: int) -> None:
            registers = Registers(code, rows, vectors)
            base = point * i64(shape.rows * depth)
            registers.run(
                depth,
                lambda r, i: task.data[base + i64(r * depth) + i],
                lambda offset, size, i: task.weights[point, panel, i, ramp(offset, size)],
            )
            for r, offset, size, total in registers.totals():
                row = (point * i64(shape.rows) + i64(r)) * i64(row_size)
                column = panel * i64(shape.columns) + i64(offset)
                code.store(task.products, total[ramp(0, size)], ramp(row + column, size))

        tail = widths(panels.n % shape.columns, shape.lanes)
        panels.choose(
            code,
            panel,
            shape.whole,
            tail,
            lambda vectors: by_rows(code, task.rows, shape.rows, partial(fill, vectors)),
        )


def _transform_outputs(task: _Task, channels: int) -> None:
    """Transform the products back and store the pixels that lie inside, through the epilogue."""
    code, group, lanes = task.code, task.group, task.shape.lanes
    row_size = task.panels.count * task.shape.columns
    out_h, out_w = list(group.output.shape)[1:3]
    with code.loop(task.rows, "r") as r:
        y, z = task.corner(r)
        high = code.slot(tirx.min(out_h - y, i64(OUT)), "high")
        wide = code.slot(tirx.min(out_w - z, i64(OUT)), "wide")

        def transform(channel: Any, columns: int) -> None:
            size = min(lanes, 1 << (columns - 1).bit_length())

            def load(i: int, j: int) -> Any:
                row = i64((i * IN + j) * task.shape.rows) + r
                return task.products[ramp(row * i64(row_size) + channel, size)]

            name = named(code, size)
            lines = [
                transform_output([load(i, j) for j in range(IN)], size, name) for i in range(IN)
            ]
            for j in range(OUT):
                column = transform_output([line[j] for line in lines], size, name)
                for i, value in enumerate(column):
                    code.store(task.patch, value, ramp((i * OUT + j) * lanes, size))
            with code.loop(high, "i") as i, code.loop(wide, "j") as j:
                for start, width in pieces(columns, lanes):
                    with code.vector(width) as lane:
                        at = (i * i64(OUT) + j) * i64(lanes) + i64(start) + lane
                        index = [task.n, y + i, z + j, channel + i64(start) + lane]
                        value = group.stored(task.patch[at], index)
                        code.store(group.output, value, *index)

        with code.loop(channels // lanes, "c") as c:
            transform(c * i64(lanes), lanes)
        if channels % lanes:
            transform(i64(channels - channels % lanes), channels % lanes)
