"""Depthwise convolution of bytes, channels last, constant int8 weights, exact in 32 bits.

As depthwise.py, with lanes over channels: each tap widens a vector of bytes and of weights to 32
bits, which machines multiply as 16-bit pairs. The zero point is taken off at the start of the sums,
as in int8_conv.py, over the taps that lie inside the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.conv2d import Blocks, windows
from tvm_sod2.schedules.depthwise import PIXELS
from tvm_sod2.schedules.dot import EPILOGUE
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, Kernel, Refusal, i64, lowered, ramp, splat
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import Output
from tvm_sod2.schedules.panels import Panels, Shape, Widths, by_rows
from tvm_sod2.schedules.traits import Traits

# Sums of nine-bit weights over the taps of a kernel row fit into 16 bits up to here.
WIDEST = 128


class _Sums(Registers):
    dtype = "int32"


def emit_int8_depthwise(group: Group, traits: Traits) -> Kernel | Refusal:
    """One filter for each channel; any size, stride, padding and dilation."""
    attrs = group.attrs
    x, w = group.inputs
    if not group.packable(w):
        return Refusal("the weights cannot be packed")
    if str(x.dtype) not in ("int8", "uint8") or str(w.dtype) not in ("int8", "int16"):
        return Refusal(f"operands of {x.dtype} and {w.dtype}")
    if attrs["data_layout"] != "NHWC":
        return Refusal("not channels-last")
    kernel = dict(zip(attrs["kernel_layout"], (int(d) for d in w.shape), strict=True))
    channels = kernel["O"]
    if kernel["I"] != 1 or attrs["groups"] != channels or 0 in kernel.values():
        return Refusal("not one filter for each channel")
    if kernel["W"] > WIDEST:
        return Refusal(f"a window wider than {WIDEST}")
    vertical, horizontal = windows(group, kernel)
    lanes = traits.lanes("int32")
    shape = Shape(PIXELS, 2 if channels > lanes else 1, lanes)
    chunks = Panels(channels, shape)
    # [.., 0, tap, :] are the weights, [.., 1, tap, :] the sums of those before.
    taps = [i64(d) for d in (kernel["H"], 2, kernel["W"] + 1, channels)]
    packed = tirx.decl_buffer(taps, "int16", f"{w.name}_packed")
    zero = None
    height, width = x.shape[1], x.shape[2]
    batch, out_h, out_w = list(group.output.shape)[:3]
    code = Code()
    if group.zero is not None:
        kept = code.buffer(1, "zero", "int32")
        code.store(kept, group.zero, 0)
        zero = kept[i64(0)]
    # A tap widens, multiplies and adds.
    work = batch * out_h * out_w * i64((3 * kernel["H"] * kernel["W"] + EPILOGUE) * channels)
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

            def wide(buffer: Any, *index: Any, size: int) -> Any:
                return tirx.Cast("int32" if size == 1 else f"int32x{size}", buffer[index])

            def begin(rows: int, vectors: Widths, kw: Any, count: Any) -> Registers:
                """Registers that begin with what the zero point adds over `count` taps from kw."""
                if zero is None:
                    return _Sums(code, rows, vectors, chains=1)
                starts: dict[int, Any] = {}
                for v, size in enumerate(vectors):
                    offset = sum(vectors[:v])
                    starts[offset] = code.register(size, "start", offset, dtype="int32")
                    code.store(starts[offset], splat(tirx.const(0, "int32"), size), ramp(0, size))
                with code.loop(kh_count, "kh") as j:
                    for (offset, start), size in zip(starts.items(), vectors, strict=True):
                        at = ramp(channel + i64(offset), size)
                        after, before = (
                            wide(packed, kh_first + j, i64(1), tap, at, size=size)
                            for tap in (kw + count, kw)
                        )
                        value = start[ramp(0, size)] - splat(zero, size) * (after - before)
                        code.store(start, value, ramp(0, size))
                return _Sums(
                    code,
                    rows,
                    vectors,
                    chains=1,
                    start=lambda offset, size: starts[offset][ramp(0, size)],
                )

            def tap(registers: Registers, kh: Any, kw: Any) -> None:
                ih = top + kh * i64(vertical.dilation)
                iw = left + kw * i64(horizontal.dilation)

                def data(r: int, offset: int, size: int) -> Any:
                    at = ramp(channel + i64(offset), size)
                    return wide(x, n, ih, iw + i64(r * horizontal.stride), at, size=size)

                def weight(offset: int, size: int) -> Any:
                    return wide(
                        packed, kh, i64(0), kw, ramp(channel + i64(offset), size), size=size
                    )

                registers.multiply(data, weight)

            def versions(vectors: Widths, done: Callable[[Registers], None]) -> None:
                def fill(count: int) -> None:
                    registers = begin(count, vectors, i64(0), i64(kernel["W"]))
                    with code.loop(kh_count, "kh") as kh:
                        for kw in range(kernel["W"]):
                            tap(registers, kh_first + kh, i64(kw))
                    done(registers)

                def fill_border() -> None:
                    kw_first, kw_count = horizontal.taps(code, left, width, "kw")
                    registers = begin(1, vectors, kw_first, kw_count)
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
        f"int8 depthwise {kernel['H']}x{kernel['W']} {shape.rows}x{shape.columns}",
        {group.position(w): partial(_pack, attrs["kernel_layout"])},
    )


def _pack(layout: str, weight: np.ndarray) -> np.ndarray:
    """[KH, 2, KW + 1, channels]: the taps and a row of zeros; the sums of the taps before each."""
    moved = weight.transpose([layout.index(c) for c in "HWOI"])[..., 0].astype(np.int16)
    none = np.zeros_like(moved[:, :1])
    sums = np.concatenate([none, moved.cumsum(1, dtype=np.int16)], axis=1)
    return np.ascontiguousarray(np.stack([np.concatenate([moved, none], axis=1), sums], axis=1))
