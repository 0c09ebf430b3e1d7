"""Transposed convolution of any stride, channels last, constant weights, phase by phase.

Output pixels whose position plus padding leaves the same rest, their phase, when divided by the
stride meet the same taps, those of that rest, each stride-th: along a row, a phase is a convolution
of stride 1 with these taps turned round. Phases of a row share its inputs, of columns the weights.

    out[stride * q + phase - padding] = sum over j of in[q - j] * taps[stride * j + phase]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.conv2d import Task, cut_of, sum_taps
from tvm_sod2.schedules.convolution import Window, read_convolution
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.few_outputs import FewOutputs
from tvm_sod2.schedules.kernel import Code, Kernel, Pack, Refusal, i64
from tvm_sod2.schedules.output import Output
from tvm_sod2.schedules.panels import Panels, Shape, pack_panels
from tvm_sod2.schedules.traits import Traits


def emit_phases(group: Group, traits: Traits) -> Kernel | Refusal:
    """Transposed convolution of any size, stride, padding, dilation and groups; constant weights.

    The taps of a dilated one are those of the larger kernel, with zeros between.
    """
    conv = read_convolution(group)
    if isinstance(conv, Refusal):
        return conv
    if conv.empty:
        return Refusal("an empty kernel")
    down, across = conv.windows
    inputs, channels = conv.sizes["I"] // conv.groups, conv.sizes["O"]
    rows, columns = (-(-window.reach // window.stride) for window in conv.windows)
    few = FewOutputs.of(channels, inputs, rows * columns, traits)
    if few is None:
        panels = Panels(channels, Shape.for_columns(channels, traits))
        sizes = panels.packed_shape(rows * columns * inputs)[1:]
        each, name = inputs, f"{panels.shape.rows}x{panels.shape.columns}"
        pack: Pack = partial(pack_panels, columns=panels.shape.columns)
    else:
        panels, sizes = few.panels, few.packed_shape[1:]
        each, name, pack = inputs // few.lanes, few.name, few.pack
    shape, parts = panels.shape, across.stride * conv.groups * panels.count
    packed = tirx.decl_buffer(
        [i64(down.stride * parts), *sizes], "float32", f"{conv.weights.name}_packed"
    )

    def weight(part: Any, tap: Any, i: Any, lanes: Any) -> Any:
        return packed[part, tap * i64(each) + i, lanes]

    code = Code()
    taps = conv.sizes["H"] * conv.sizes["W"]
    work = conv.batch * down.extent * across.extent * i64(taps * conv.sizes["I"] * channels)
    with code.tasks(conv.batch * down.out * i64(parts), "t", work) as t, code.bank():
        part, line = code.slot(t % i64(parts), "part"), code.slot(t // i64(parts), "line")
        n, oh = code.slot(line // down.out, "n"), code.slot(line % down.out, "oh")
        every = i64(conv.groups * panels.count)
        at_group = code.slot(part % every // i64(panels.count), "group")
        panel = code.slot(part % i64(panels.count), "panel")
        beside = code.slot(part // every, "beside")
        above = code.slot((oh + i64(down.before)) % i64(down.stride), "above")
        (top, row), (left, column) = _phase(code, down, above), _phase(code, across, beside)
        phase = replace(conv, vertical=row, horizontal=column)
        line = code.slot((oh + i64(down.before)) // i64(down.stride) - top, "line")
        with cut_of(phase, inputs)(code, phase, n, line, shape.rows) as strip:

            def at(r: Any) -> Any:
                """Output index, less the channel, of a strip's r-th pixel."""
                q = left + strip.first + r
                return n, oh, q * i64(across.stride) + beside - i64(across.before)

            start = at_group * i64(channels) + panel * i64(shape.columns)
            output = Output(group, panels, panel, strip.pixels, at, start)
            number = above * i64(parts) + part
            task = Task(number, at_group * i64(inputs), strip, output)
            steps = rows * columns * inputs
            sum_taps(code, task, weight, inputs, conv.groups == 1, steps, few)
    return group.emitted(
        code,
        f"transposed conv {conv.sizes['H']}x{conv.sizes['W']} {name}",
        conv.weights,
        packed,
        partial(_pack, conv.layout, conv.windows, conv.groups, pack),
    )


def _phase(code: Code, window: Window, rest: Any) -> tuple[Any, Window]:
    """The first q of the pixels with this rest, and the convolution of stride 1 that they are.

    A phase without taps, as there are where the kernel is shorter than the stride, sums nothing.
    """
    stride, before = i64(window.stride), i64(window.before)
    first = code.slot((before - rest + stride - i64(1)) // stride, "first_q")
    size = code.slot((i64(window.reach) - rest + stride - i64(1)) // stride, "taps")
    out = (window.out - i64(1) + before - rest + stride) // stride - first
    out = code.slot(tirx.max(out, i64(0)), "phase")
    padding = code.slot(size - i64(1) - first, "padding")
    return first, Window(size, 1, 1, padding, 0, window.extent, out)


def _pack(
    layout: str,
    windows: Sequence[Window],
    groups: int,
    pack: Pack,
    weight: np.ndarray,
) -> np.ndarray:
    """The panels of each phase's taps, turned round, of rows, then columns, then groups."""
    moved = weight.transpose([layout.index(c) for c in "HWIO"])
    down, across = windows
    spread = np.zeros((down.reach, across.reach, *moved.shape[2:]), weight.dtype)
    spread[:: down.dilation, :: across.dilation] = moved
    most = -(-down.reach // down.stride) * -(-across.reach // across.stride)
    parts = []
    for above, beside in np.ndindex(down.stride, across.stride):
        taps = spread[above :: down.stride, beside :: across.stride][::-1, ::-1]
        for part in np.split(taps, groups, axis=2):
            matrix = part.reshape(-1, part.shape[-1])
            missing = most * part.shape[2] - len(matrix)
            parts.append(pack(np.pad(matrix, ((0, missing), (0, 0)))))
    return np.concatenate(parts)
