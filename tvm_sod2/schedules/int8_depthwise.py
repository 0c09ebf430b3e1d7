"""Depthwise convolution of bytes, channels last, constant int8 weights, exact in 32 bits.

For weights of nine bits, and machines that have no instruction for what int8_depthwise_words.py
does. The loops are those of depthwise.py, with lanes over channels: each tap widens a vector of
bytes and of weights to 32 bits, which machines multiply as 16-bit pairs. The zero point is taken
off at the start of the sums, see zero_point.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.depthwise import chunks_of, read_depthwise, write_depthwise
from tvm_sod2.schedules.dot import EPILOGUE, unsuited
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, Kernel, Refusal, i64, ramp
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.panels import Widths
from tvm_sod2.schedules.strips import Strip
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.zero_point import start_of_sums

# Sums of nine-bit weights over the taps of a kernel row fit into 16 bits up to here.
WIDEST = 128


class _Sums(Registers):
    dtype = "int32"


def emit_int8_depthwise(group: Group, traits: Traits) -> Kernel | Refusal:
    """One filter for each channel; any size, stride, padding and dilation."""
    conv = read_depthwise(group)
    if isinstance(conv, Refusal):
        return conv
    if (refusal := unsuited(conv.data, conv.weights, "int8", "int16")) is not None:
        return refusal
    height, width, channels = (conv.sizes[letter] for letter in "HWO")
    if width > WIDEST:
        return Refusal(f"a window wider than {WIDEST}")
    chunks = chunks_of(channels, traits.lanes("int32"))
    # [.., 0, tap, :] are the weights, [.., 1, tap, :] the sums of those before.
    taps = [i64(d) for d in (height, 2, width + 1, channels)]
    packed = tirx.decl_buffer(taps, "int16", f"{conv.weights.name}_packed")
    zero = None
    code = Code()
    if group.zero is not None:
        kept = code.buffer(1, "zero", "int32")
        code.store(kept, group.zero, 0)
        zero = kept[i64(0)]

    def wide(buffer: Any, lead: tuple[Any, ...], channel: Any, offset: int, size: int) -> Any:
        """Channels of a buffer's last axis in 32 bits."""
        value = buffer[(*lead, ramp(channel + i64(offset), size))]
        return tirx.Cast("int32" if size == 1 else f"int32x{size}", value)

    def begin(
        strip: Strip, channel: Any, rows: int, vectors: Widths, kw: Any, count: Any
    ) -> Registers:
        def weights(kh: Any, *part: int) -> Any:
            after = wide(packed, (kh, i64(1), kw + count), channel, *part)
            return after - wide(packed, (kh, i64(1), kw), channel, *part)

        start = start_of_sums(strip, zero, vectors, weights)
        return _Sums(code, rows, vectors, chains=1, start=start)

    def tap(registers: Registers, strip: Strip, channel: Any, kh: Any, kw: Any) -> None:
        registers.multiply(
            lambda r, *part: wide(conv.data, strip.under(kh, kw, r), channel, *part),
            lambda *part: wide(packed, (kh, i64(0), kw), channel, *part),
        )

    # A tap widens, multiplies and adds.
    work = conv.pixels * i64((3 * height * width + EPILOGUE) * channels)
    write_depthwise(code, group, conv, chunks, work, begin, tap)
    return group.emitted(
        code,
        f"int8 depthwise {height}x{width} {chunks.shape.rows}x{chunks.shape.columns}",
        conv.weights,
        packed,
        partial(_pack, conv.layout),
    )


def _pack(layout: str, weight: np.ndarray) -> np.ndarray:
    """[KH, 2, KW + 1, channels]: the taps and a row of zeros; the sums of the taps before each."""
    moved = weight.transpose([layout.index(c) for c in "HWOI"])[..., 0].astype(np.int16)
    none = np.zeros_like(moved[:, :1])
    sums = np.concatenate([none, moved.cumsum(1, dtype=np.int16)], axis=1)
    return np.ascontiguousarray(np.stack([np.concatenate([moved, none], axis=1), sums], axis=1))
