"""The steps of a Winograd convolution: transform tiles of inputs, multiply, transform back.

A task is a block of tiles: their inputs are transformed into a scratch of [products, tiles, I], as
many small GEMMs with the transformed weights give [products, tiles, O], and these are transformed
back. Tiles that cross the image's border read through a zero-filled patch; of what they compute,
only the pixels inside are stored. A task's scratch has a constant size and comes from TVM's pool of
thread-local memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, EvenBlocks, f32, i64, ramp, splat
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.panels import Panels, Shape, Widths, by_rows, pieces, widths
from tvm_sod2.schedules.winograd_division import Division, Share
from tvm_sod2.schedules.winograd_matrices import Form
from tvm_sod2.schedules.winograd_weights import Load, Weights, named


@dataclass(frozen=True)
class _Task:
    """What the three steps of one task share."""

    code: Code
    group: Group
    form: Form
    shape: Shape
    panels: Panels
    part: tuple[Any, Any] | None  # of the panels, where a thread does not have all
    weight: Load
    place: Callable[[Any], Any]  # of a panel's weights
    data: Any
    products: Any
    patch: Any
    padding: tuple[int, int]
    rows: Any
    corners: Any

    def if_mine(self, panel: Any, write: Callable[[], None]) -> None:
        """What `write` writes runs for the thread's panels; loops have constant bounds for TVM."""
        if self.part is None:
            write()
            return
        begin, end = self.part
        self.code.branch([(tirx.all(panel >= begin, panel < end), write)])

    def corner(self, r: Any) -> tuple[Any, Any, Any]:
        """Image, first output row and first column of the block's tile r."""
        at = r * i64(3)
        n, y, x = (self.code.slot(self.corners[at + i64(i)], c) for i, c in enumerate("nyx"))
        return n, y, x

    def place_corners(self, first: Any, down: Any, across: Any) -> None:
        """Note the corners of tiles from `first` on; an image has `down` times `across`."""
        code, out = self.code, i64(self.form.out)
        with code.loop(self.rows, "r") as r:
            tile = code.slot(first + r, "tile")
            line = code.slot(tile // across, "line")
            n = code.slot(line // down, "n")
            corner = n, (line - n * down) * out, (tile - line * across) * out
            for i, value in enumerate(corner):
                code.store(self.corners, value, r * i64(3) + i64(i))


def tiles(form: Form, extent: Any) -> Any:
    """Tiles that cover an axis of the output."""
    return (extent + i64(form.out - 1)) // i64(form.out)


def convolve_tiles(
    code: Code,
    group: Group,
    form: Form,
    panels: Panels,
    weights: Weights,
    depth: int,
    division: Division,
) -> None:
    """The tasks: blocks of tiles or, where weights have to be made, what a thread has of them."""
    x, shape = group.inputs[0], panels.shape
    batch, out_h, out_w = list(group.output.shape)[:3]
    down = code.slot(tiles(form, out_h), "down")
    across = code.slot(tiles(form, out_w), "across")
    # Of nine multiplications a direct convolution needs, 36 / 16 or 16 / 4 are left.
    work = batch * out_h * out_w * i64(depth * panels.n * form.products // form.out**2)
    stripes = code.slot(division.stripes, "stripes")
    blocks = EvenBlocks(code, batch * down * across, shape.rows, stripes)

    def block(
        t: Any, weight: Load, place: Callable[[Any], Any], part: tuple[Any, Any] | None
    ) -> None:
        first, rows = blocks.locate(t)
        task = _Task(
            code,
            group,
            form,
            shape,
            panels,
            part,
            weight,
            place,
            code.buffer(form.products * shape.rows * depth, "data"),
            code.buffer(form.products * shape.rows * panels.count * shape.columns, "products"),
            code.buffer(form.products * shape.lanes, "patch"),
            (int(group.attrs["padding"][0]), int(group.attrs["padding"][1])),
            rows,
            code.buffer(3 * shape.rows, "corners", "int64"),
        )
        task.place_corners(first, down, across)
        _transform_inputs(task, x, depth)
        _multiply(task, depth)
        _transform_outputs(task, panels.n)

    if form is weights.stored:
        with code.tasks(blocks.count, "t", work) as t, code.bank():
            block(t, weights.there, lambda panel: panel, None)
        return
    with code.parts(division.threads, "part", work) as part:
        share = Share.of(code, division, stripes, part)
        with code.loop(share.made, "p") as p, code.loop(depth, "i") as i, code.bank():
            panel, place = (code.slot(share.panel(p), "panel"), code.slot(share.place + p, "place"))
            weights.make(code, form, shape.lanes, panel, place, i)
        with code.loop(blocks.count, "t") as t, code.bank():
            mine = share.panels(t, blocks)
            run = partial(block, t, weights.made_here, share.placed, mine)
            code.branch([(mine[0] < mine[1], run)])


def _transform_inputs(task: _Task, x: Any, depth: int) -> None:
    """The block's inputs, transformed, into data [products, tiles, depth]."""
    code, form, lanes, size_in = task.code, task.form, task.shape.lanes, task.form.size
    height, width = x.shape[1], x.shape[2]
    with code.loop(task.rows, "r") as r:
        n, y, z = task.corner(r)
        top = code.slot(y - i64(task.padding[0]), "top")
        left = code.slot(z - i64(task.padding[1]), "left")
        inside = tirx.all(
            top >= i64(0),
            left >= i64(0),
            top + i64(size_in) <= height,
            left + i64(size_in) <= width,
        )

        def transform(channel: Any, size: int) -> None:
            def direct(i: int, j: int) -> Any:
                return x[n, top + i64(i), left + i64(j), ramp(channel, size)]

            def patched(i: int, j: int) -> Any:
                return task.patch[ramp((i * size_in + j) * lanes, size)]

            def through_patch() -> None:
                with code.loop(size_in, "i") as i, code.loop(size_in, "j") as j:
                    ih, iw = top + i, left + j
                    at = ramp((i * i64(size_in) + j) * i64(lanes), size)
                    valid = tirx.all(ih >= i64(0), iw >= i64(0), ih < height, iw < width)
                    value = x[n, ih, iw, ramp(channel, size)]
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
                    form.data([load(i, j) for j in range(size_in)], size, name)
                    for i in range(size_in)
                ]
                for j in range(size_in):
                    column = form.data([line[j] for line in lines], size, name)
                    for i, value in enumerate(column):
                        row = i64((i * size_in + j) * task.shape.rows) + r
                        code.store(task.data, value, ramp(row * i64(depth) + channel, size))

            code.branch([(inside, lambda: write(direct)), (None, through_patch)])

        with code.loop(depth // lanes, "c") as c:
            transform(c * i64(lanes), lanes)
        for start, size in pieces(depth % lanes, lanes):
            transform(i64(depth - depth % lanes + start), size)


def _multiply(task: _Task, depth: int) -> None:
    """products[p] [tiles, columns] = data[p] [tiles, depth] @ weights[p] [depth, columns]."""
    code, shape, panels = task.code, task.shape, task.panels
    row_size = panels.count * shape.columns
    with code.loop(task.form.products, "point") as point, code.loop(panels.count, "panel") as panel:
        place = task.place(panel)

        def fill(vectors: Widths, rows: int) -> None:
            registers = Registers(code, rows, vectors)
            base = point * i64(shape.rows * depth)
            registers.run(
                depth,
                lambda r, i: task.data[base + i64(r * depth) + i],
                lambda offset, size, i: task.weight(point, place, i, ramp(offset, size)),
            )
            for r, offset, size, total in registers.totals():
                row = (point * i64(shape.rows) + i64(r)) * i64(row_size)
                column = panel * i64(shape.columns) + i64(offset)
                code.store(task.products, total[ramp(0, size)], ramp(row + column, size))

        tail = widths(panels.n % shape.columns, shape.lanes)

        def rows(vectors: Widths) -> None:
            by_rows(code, task.rows, shape.rows, partial(fill, vectors))

        task.if_mine(panel, lambda: panels.choose(code, panel, shape.whole, tail, rows))


def _transform_outputs(task: _Task, channels: int) -> None:
    """Transform the products back and store the pixels that lie inside, through the epilogue."""
    code, group, form, lanes = task.code, task.group, task.form, task.shape.lanes
    out = form.out
    row_size = task.panels.count * task.shape.columns
    out_h, out_w = list(group.output.shape)[1:3]
    with code.loop(task.rows, "r") as r:
        n, y, z = task.corner(r)
        high = code.slot(tirx.min(out_h - y, i64(out)), "high")
        wide = code.slot(tirx.min(out_w - z, i64(out)), "wide")

        def transform(channel: Any, columns: int) -> None:
            size = min(lanes, 1 << (columns - 1).bit_length())

            def load(i: int, j: int) -> Any:
                row = i64((i * form.size + j) * task.shape.rows) + r
                return task.products[ramp(row * i64(row_size) + channel, size)]

            name = named(code, size)
            lines = [
                form.output([load(i, j) for j in range(form.size)], size, name)
                for i in range(form.size)
            ]
            for j in range(out):
                column = form.output([line[j] for line in lines], size, name)
                for i, value in enumerate(column):
                    code.store(task.patch, value, ramp((i * out + j) * lanes, size))
            with code.loop(high, "i") as i, code.loop(wide, "j") as j:
                for start, width in pieces(columns, lanes):
                    with code.vector(width) as lane:
                        at = (i * i64(out) + j) * i64(lanes) + i64(start) + lane
                        index = [n, y + i, z + j, channel + i64(start) + lane]
                        value = group.stored(task.patch[at], index)
                        code.store(group.output, value, *index)

        vectors, whole = i64(task.shape.columns // lanes), channels // lanes
        with code.loop(whole, "c") as c:
            task.if_mine(c // vectors, lambda: transform(c * i64(lanes), lanes))
        if channels % lanes:
            rest = partial(transform, i64(whole * lanes), channels % lanes)
            task.if_mine(i64(task.panels.count - 1), rest)
