"""States rounded to bytes before their product, as an LSTM of bytes has it.

All rows share one range at each step, widened to hold 0:
    scale = (highest - lowest) / 255, zero point z = round(-lowest / scale)
    state -> (clip(round(state / scale) + z, 0, 255) - z) * scale
Source: ONNX Runtime's DynamicQuantizeLSTM at one thread; with more, it parts the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from tvm_sod2.schedules import math
from tvm_sod2.schedules.kernel import Code, f32, i64, ramp, splat
from tvm_sod2.schedules.recurrent_cell import Value
from tvm_sod2.schedules.recurrent_weights import segments


class ByteRange:
    """Finds the range of some values and rounds to it; `lanes` is the widest vector."""

    def __init__(self, code: Code, hidden: int, lanes: int) -> None:
        self.code, self.hidden, self.lanes = code, hidden, lanes
        self.low, self.high = code.buffer(lanes, "low"), code.buffer(lanes, "high")
        self.found = code.buffer(2, "scale_and_zero_point")
        for buffer in (self.low, self.high):
            code.store(buffer, splat(f32(0.0), lanes), ramp(0, lanes))

    def widen(self, state: Callable[[Any], Value]) -> None:
        """Take in the values of one row, `state` of each column."""
        for start, count, width in segments(self.hidden, self.lanes):
            with self.code.loop(i64(count), "tile") as tile, self.code.vector(width) as lane:
                value = state(i64(start) + tile * i64(width) + lane)
                self.code.store(self.low, tirx.min(self.low[lane], value), lane)
                self.code.store(self.high, tirx.max(self.high[lane], value), lane)

    def settle(self) -> None:
        """Compute scale and zero point; nothing is taken in afterwards."""
        code, low, high, first = self.code, self.low, self.high, i64(0)
        with code.loop(i64(self.lanes), "lane") as lane:
            code.store(low, tirx.min(low[first], low[lane]), 0)
            code.store(high, tirx.max(high[first], high[lane]), 0)
        scale = (high[first] - low[first]) / f32(255.0)
        code.store(self.found, tirx.Select(scale > f32(0.0), scale, f32(1.0)), 0)
        code.store(self.found, math.nearbyint((f32(0.0) - low[first]) / self.found[first]), 1)

    def rounded(self, value: Value) -> Value:
        """The value as the byte nearest to it says it."""
        scale, zero = self.found[i64(0)], self.found[i64(1)]
        steps = math.nearbyint(value / scale) + zero
        return (tirx.max(tirx.min(steps, f32(255.0)), f32(0.0)) - zero) * scale
