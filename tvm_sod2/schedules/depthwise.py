"""Depthwise convolution, channels last, constant weights.

Lanes run over channels. One task is a band of output rows of one chunk of channels, two vectors
wide: the input rows that a kernel reuses stay in the first-level cache, and a thread has all
channels of its rows, as it has in other kernels. Interior pixels go in small blocks with the taps
of a kernel row unrolled, border pixels one by one over the taps that lie inside the image, or in
such blocks where there are many of them. Chunks are three vectors wide where filters of a channel
end with those and not with two.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.convolution import Convolution, read_convolution
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, EvenBlocks, Kernel, Refusal, i64, ramp, splat
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import Output
from tvm_sod2.schedules.panels import Panels, Shape, Widths
from tvm_sod2.schedules.strips import Strip, even_strips, strips
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.transpose import shuffled

R = TypeVar("R", bound=Registers)

# Rows of a tile; output rows of a task.
_PIXELS, _BAND = 4, 8

# Columns of a filter from which pixels at the border are better computed side by side than alone.
_WIDE = 7

# The most filters of a channel whose products fill vectors better than as a group of their own.
_FILTERS = 8

# A tile's registers over so many taps of a kernel row from a first one on.
Begin = Callable[[Strip, Any, int, Widths, Any, Any], R]

# Adds the tap (kh, kw) of a strip's windows, its channels from the third argument on.
Tap = Callable[[R, Strip, Any, Any, Any], None]

# The same for those rows of a tile that have the tap.
Edge = Callable[[R, Strip, Any, Any, Any, Callable[[int], Any]], None]

# Adds the taps of kernel row kh.
Row = Callable[[R, Strip, Any, Any], None]


def read_depthwise(group: Group, filters: int = 1) -> Convolution | Refusal:
    """A convolution with one filter for each channel, or up to so many."""
    conv = read_convolution(group)
    if isinstance(conv, Refusal):
        return conv
    if conv.sizes["I"] != 1 or conv.empty or conv.sizes["O"] // conv.groups > filters:
        return Refusal(f"not up to {filters} filters for each channel")
    return conv


def chunks_of(channels: int, lanes: int) -> Panels:
    """The channels cut into chunks of up to two vectors."""
    return Panels(channels, Shape(_PIXELS, 2 if channels > lanes else 1, lanes))


def _chunks_of_filters(channels: int, each: int, traits: Traits) -> Panels | None:
    """Chunks that begin with the first of `each` filters; None where there are no such ones."""
    lanes = traits.lanes("float32")
    chunks = chunks_of(channels, lanes)
    if chunks.count == 1 or chunks.shape.columns % each == 0:
        return chunks
    if 3 * lanes % each:
        return None
    rows = _PIXELS if traits.vector_registers >= 32 else _PIXELS // 2
    return Panels(channels, Shape(rows, 3, lanes))


def write_depthwise(
    code: Code,
    group: Group,
    conv: Convolution,
    chunks: Panels,
    work: Any,
    begin: Begin[R],
    tap: Tap[R],
    row: Row[R] | None = None,
    edge: Edge[R] | None = None,
) -> None:
    """The loops over rows, chunks, strips and taps; `work` is what all of it costs.

    row: adds all taps of a kernel row of interior pixels, None for tap by tap.
    edge: adds a tap to those pixels of a strip that have it; None where border pixels go alone.
    """
    count, height, width = i64(chunks.count), conv.sizes["H"], conv.sizes["W"]
    bands = EvenBlocks(code, conv.vertical.out, _BAND, i64(2))  # of equal parts for two threads
    with code.tasks(conv.batch * bands.count * count, "t", work) as t, code.bank():
        chunk, band = code.slot(t % count, "chunk"), code.slot(t // count, "band")
        channel = code.slot(chunk * i64(chunks.shape.columns), "channel")
        n = code.slot(band // bands.divisor, "n")
        first, lines = bands.locate(code.slot(band % bands.divisor, "band"))
        cut = strips if edge is None else even_strips
        with (
            code.loop(lines, "line") as line,
            cut(code, conv, n, code.slot(first + line, "oh"), chunks.shape.rows) as strip,
        ):

            def interior(rows: int, vectors: Widths) -> Registers:
                registers = begin(strip, channel, rows, vectors, i64(0), i64(width))
                with strip.each_kernel_row() as kh:
                    if row is not None:
                        row(registers, strip, channel, kh)
                    else:
                        for kw in range(width):
                            tap(registers, strip, channel, kh, i64(kw))
                return registers

            def border(rows: int, vectors: Widths, kw_first: Any, kw_count: Any) -> Registers:
                registers = begin(strip, channel, rows, vectors, kw_first, kw_count)
                with strip.each_kernel_row() as kh, code.loop(kw_count, "kw") as kw:
                    tap(registers, strip, channel, kh, kw_first + kw)
                return registers

            def mixed(add: Edge[R], rows: int, vectors: Widths) -> Registers:
                registers = begin(strip, channel, rows, vectors, i64(0), i64(width))
                with strip.each_kernel_row() as kh, strip.each_tap() as (kw, where):
                    add(registers, strip, channel, kh, kw, where)
                return registers

            beside = None if edge is None else partial(mixed, edge)
            versions = strip.versions(interior, border, beside)
            output = Output(group, chunks, chunk, strip.pixels, strip.at, channel)
            output.write(code, versions, height * width, exact=True)


def emit_depthwise(group: Group, traits: Traits) -> Kernel | Refusal:
    """One filter for each channel, or a few; any size, stride, padding and dilation.

    Several filters of a channel lie side by side: each vector of inputs is spread out for them.
    """
    conv = read_depthwise(group, _FILTERS)
    if isinstance(conv, Refusal):
        return conv
    height, width, channels = (conv.sizes[letter] for letter in "HWO")
    each = channels // conv.groups
    chunks = _chunks_of_filters(channels, each, traits)
    if chunks is None:
        return Refusal(f"{each} filters for each channel, which no vectors end with")
    taps = [i64(height), i64(width), i64(channels)]
    packed = tirx.decl_buffer(taps, "float32", f"{conv.weights.name}_packed")
    code = Code()

    def begin(_strip: Strip, _channel: Any, rows: int, vectors: Widths, *_taps: Any) -> Registers:
        return Registers(code, rows, vectors, chains=1)

    def tap(
        registers: Registers,
        strip: Strip,
        channel: Any,
        kh: Any,
        kw: Any,
        where: Callable[[int], Any] | None = None,
    ) -> None:
        def channels_at(offset: int, size: int) -> Any:
            return ramp(channel + i64(offset), size)

        def data(r: int, offset: int, size: int) -> Any:
            if each == 1:
                return conv.data[(*strip.under(kh, kw, r), channels_at(offset, size))]
            filters = [offset % each + lane for lane in range(size)]
            first, count = channel // i64(each) + i64(offset // each), filters[-1] // each + 1
            inputs = conv.data[(*strip.under(kh, kw, r), ramp(first, count))]
            if count == 1:
                return splat(inputs, size)
            # TVM's shuffle gives no more lanes than it takes.
            return shuffled([inputs] * each, [number // each for number in filters])

        registers.multiply(data, lambda *part: packed[kh, kw, channels_at(*part)], where=where)

    work = conv.pixels * i64(height * width * channels)
    write_depthwise(
        code, group, conv, chunks, work, begin, tap, edge=tap if width >= _WIDE else None
    )
    return group.emitted(
        code,
        f"depthwise {height}x{width} {chunks.shape.rows}x{chunks.shape.columns}",
        conv.weights,
        packed,
        partial(_pack, conv.layout),
    )


def _pack(layout: str, weight: np.ndarray) -> np.ndarray:
    moved = weight.transpose([layout.index(c) for c in "HWOI"])
    return np.ascontiguousarray(moved.reshape(moved.shape[:3]))
