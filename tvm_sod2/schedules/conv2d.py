"""Direct convolution, channels last, constant weights; nothing is copied or padded.

A tile's rows are neighbouring output pixels of one image row, see strips.py; an image one pixel
wide is read as one pixel high. For an undilated kernel the inputs of one kernel row are a
contiguous run of KW * I floats, the next pixel's run starts stride * I further on: the inner loop
is the GEMM's. In a dilated or grouped convolution a run ends after each tap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.convolution import Convolution, kernel_matrix, read_convolution
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.few_outputs import FewOutputs, LaneSums
from tvm_sod2.schedules.kernel import Code, Kernel, Pack, Refusal, i64, ramp
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import Output
from tvm_sod2.schedules.panels import Panels, Shape, Widths, pack_panels
from tvm_sod2.schedules.strips import Strip, even_strips, strips
from tvm_sod2.schedules.traits import Traits

# Cuts an output row into strips.
Cut = Callable[..., AbstractContextManager[Strip]]

# Input channels that pay for finding out which pixels of a strip have a tap.
_DEEP = 32

# Which rows of a tile have a tap, None for all.
Where = Callable[[int], Any] | None


@dataclass(frozen=True)
class Task:
    """One strip of pixels times one panel of one group's output channels.

    Attributes:
        part: the panel's number among those of all groups.
        channel: the group's first input channel.
    """

    part: Any
    channel: Any
    strip: Strip
    output: Output


@contextmanager
def tasks(
    code: Code,
    group: Group,
    conv: Convolution,
    panels: Panels,
    work: Any,
    cut: Cut,
) -> Iterator[Task]:
    """Loops over output rows, panels of each group inside, and the strips of a row.

    panels: of the output channels of one group.
    cut: how a row is cut into strips.
    """
    every, count = i64(conv.groups * panels.count), i64(panels.count)
    lines = conv.vertical.out
    with code.tasks(conv.batch * lines * every, "t", work) as t, code.bank():
        part, line = code.slot(t % every, "part"), code.slot(t // every, "line")
        group_at, panel = code.slot(part // count, "group"), code.slot(part % count, "panel")
        channel = code.slot(group_at * i64(conv.sizes["I"]), "channel")
        n, oh = code.slot(line // lines, "n"), code.slot(line % lines, "oh")
        with cut(code, conv, n, oh, panels.shape.rows) as strip:
            start = group_at * i64(panels.n) + panel * i64(panels.shape.columns)
            output = Output(group, panels, panel, strip.pixels, strip.at, start)
            yield Task(part, channel, strip, output)


def emit_conv2d(group: Group, traits: Traits) -> Kernel | Refusal:
    """Convolution of any size, stride, padding, dilation and groups; constant weights."""
    conv = read_convolution(group)
    if isinstance(conv, Refusal):
        return conv
    if conv.empty:
        return Refusal("an empty kernel")
    conv = conv.lying()
    channels, taps = conv.sizes["O"] // conv.groups, conv.sizes["H"] * conv.sizes["W"]
    few = FewOutputs.of(channels, conv.sizes["I"], taps, traits)
    if few is None:
        panels = Panels(channels, Shape.for_columns(channels, traits))
        count, *sizes = panels.packed_shape(taps * conv.sizes["I"])
        pack: Pack = partial(pack_panels, columns=panels.shape.columns)
        name = f"{panels.shape.rows}x{panels.shape.columns}"
    else:
        panels, (count, *sizes), pack, name = few.panels, few.packed_shape, few.pack, few.name
    packed = tirx.decl_buffer(
        [count * conv.groups, *sizes], "float32", f"{conv.weights.name}_packed"
    )
    code = Code()
    convolve(code, group, conv, panels, packed, few)
    return group.emitted(
        code,
        f"conv {conv.sizes['H']}x{conv.sizes['W']} {name}",
        conv.weights,
        packed,
        partial(_pack, conv.layout, conv.groups, pack),
    )


def convolve(
    code: Code,
    group: Group,
    conv: Convolution,
    panels: Panels,
    packed: Any,
    few: FewOutputs | None = None,
) -> None:
    """Write the convolution with weights [groups * panels, KH * KW * I, columns].

    Ungrouped ones may be [KH * KW, panels, I, columns] as well; a run of inputs then ends after
    each tap.

    few: how sums of few output channels lie, as do their weights.
    """
    inputs, across = conv.sizes["I"], conv.horizontal
    taps_first = len(packed.shape) == 4
    steps = conv.vertical.size * across.size * inputs
    each = inputs if few is None else inputs // few.lanes

    def weight(part: Any, tap: Any, i: Any, lanes: Any) -> Any:
        at = (tap, part, i) if taps_first else (part, tap * i64(each) + i)
        return packed[(*at, lanes)]

    work = conv.pixels * i64(steps * conv.sizes["O"])
    with tasks(code, group, conv, panels, work, cut_of(conv, inputs)) as task:
        joined = across.dilation == 1 and conv.groups == 1 and not taps_first
        sum_taps(code, task, weight, inputs, joined, steps, few)


def cut_of(conv: Convolution, inputs: int) -> Cut:
    """How rows are cut for sums over `inputs` channels of each tap."""
    if conv.horizontal.dilation > 1:  # taps leave the image several pixels apart
        return partial(strips, shared=True)
    return even_strips if inputs >= _DEEP else strips


def sum_taps(
    code: Code,
    task: Task,
    weight: Callable[..., Any],
    inputs: int,
    joined: bool,
    steps: int,
    few: FewOutputs | None,
) -> None:
    """A strip's pixels: `steps` products for each at most, `inputs` channels for each tap.

    weight: the vector at (part, tap, channel, lanes), taps numbered through kernel rows.
    joined: whether a kernel row's inputs, and their weights, follow each other in memory.
    """
    strip = task.strip
    conv, across = strip.conv, strip.conv.horizontal

    def run(registers: Registers, kh: Any, kw: Any, length: Any, where: Where = None) -> None:
        """One pass over `length` input floats of a kernel row from tap kw on."""
        tap = kh * i64(across.size) + kw
        registers.run(
            length,
            lambda r, i: conv.data[(*strip.under(kh, kw, r), task.channel + i)],
            lambda offset, size, i: weight(task.part, tap, i, ramp(offset, size)),
            where,
        )

    def zeros(rows: int, vectors: Widths) -> Registers:
        return Registers(code, rows, vectors) if few is None else LaneSums(code, rows, few)

    def taps(rows: int, vectors: Widths, kw_first: Any, kw_count: Any) -> Registers:
        """Sums over some taps of each kernel row that all pixels have."""
        registers = zeros(rows, vectors)
        if joined:
            with strip.each_kernel_row() as kh:
                run(registers, kh, kw_first, kw_count * inputs)
        else:
            with code.loop(kw_count, "kw") as kw, strip.each_kernel_row() as kh:
                run(registers, kh, kw_first + kw, inputs)
        return registers

    def interior(rows: int, vectors: Widths) -> Registers:
        return taps(rows, vectors, i64(0), across.size)

    def edge(rows: int, vectors: Widths) -> Registers:
        registers = zeros(rows, vectors)
        with strip.each_kernel_row() as kh, strip.each_tap() as (kw, where):
            run(registers, kh, kw, inputs, where)
        return registers

    task.output.write(code, strip.versions(interior, taps, edge), steps)


def _pack(layout: str, groups: int, pack: Pack, weight: np.ndarray) -> np.ndarray:
    """The panels of each group after those of the one before."""
    parts = np.split(weight, groups, axis=layout.index("O"))
    return np.concatenate([pack(kernel_matrix(layout, part)) for part in parts])
