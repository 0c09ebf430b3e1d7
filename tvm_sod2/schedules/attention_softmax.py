"""The running softmax of a block of query rows of an attention kernel."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from tvm_sod2.schedules.attention_scratch import Form
from tvm_sod2.schedules.attention_spec import Attention, Causal
from tvm_sod2.schedules.exp2 import exp2_of_negative
from tvm_sod2.schedules.kernel import Code, f32, i64, ramp, splat

LOG2_E = 1.4426950408889634
_LOWEST = -3.4028234663852886e38
_WEIGHTLESS = 104.0  # exp(-104) is nothing in float32


class Softmax:
    """Largest scores, sums of powers and factors of the rows, one in each lane."""

    def __init__(
        self,
        code: Code,
        attention: Attention,
        batch: list[Any],
        first: Any,
        rows: Any,
        whole: Form,
    ) -> None:
        self.code, self.attention, self.whole = code, attention, whole
        self.batch, self.first, self.rows = batch, first, rows
        # Without steps the scores are exponents of two from the start; a mask of the lowest
        # number would overflow on the way to one.
        self.exponents = not attention.steps
        self.unit = LOG2_E if self.exponents else 1.0
        causal = attention.causal
        hidden = float("-inf") if causal is None else causal.hidden * self.unit
        self.hidden = hidden if hidden == float("-inf") else max(hidden, _LOWEST)
        self.turns = 1 if hidden == float("-inf") else 2

    def row(self, lane: Any) -> Any:
        """The row of a lane; lanes beyond the rows repeat the last one."""
        return self.first + tirx.min(lane, self.rows - i64(1))

    def begin(self) -> None:
        """No key was seen."""
        code, breadth = self.code, self.whole.breadth
        self.maximum, self.total, self.factor = (
            code.buffer(breadth, name) for name in ("maximum", "total", "factor")
        )
        for at, width in self.whole.lines:
            code.store(self.maximum, splat(f32(_LOWEST), width), ramp(at, width))
            code.store(self.total, splat(f32(0.0), width), ramp(at, width))

    def live(self) -> Any:
        """How many keys any row sees."""
        keys, causal = self.attention.keys, self.attention.causal
        if causal is None:
            return keys
        live = tirx.min(keys, self.first + causal.late + self.rows)
        return self.code.slot(tirx.max(live, i64(0)), "live")

    def outweighed(self) -> Any:
        """Whether all rows have a score beside which hidden ones have no weight."""
        lowest = self.code.register(1, "lowest")
        self.code.store(lowest, self.maximum[i64(0)], 0)
        with self.code.loop(self.rows, "r") as r:
            self.code.store(lowest, tirx.min(lowest[i64(0)], self.maximum[r]), 0)
        return lowest[i64(0)] - f32(self.hidden) > f32(_WEIGHTLESS * self.unit)

    def take(self, form: Form, start: Any, count: Any) -> None:
        """Powers of the chunk's scores; new maxima, sums and the factor for older results."""
        code, self.start, self.count = self.code, start, count
        tops = [code.register(width, "top", at) for at, width in form.lines]
        sums = [code.register(width, "powers", at) for at, width in form.lines]
        for top, (at, width) in zip(tops, form.lines, strict=True):
            code.store(top, self.maximum[ramp(at, width)], ramp(0, width))
        self._maxima(form, tops)
        for top, total, (at, width) in zip(tops, sums, form.lines, strict=True):
            with code.vector(width) as lane:
                place = i64(at) + lane
                factor = self._power(self.maximum[place] - top[lane], width, lane)
                code.store(self.factor, factor, place)
                code.store(self.maximum, top[lane], place)
                code.store(total, f32(0.0), lane)
        with code.loop(self.count, "j") as j:
            for top, total, (at, width) in zip(tops, sums, form.lines, strict=True):
                with code.vector(width) as lane:
                    place = form.memory.score(j, i64(at) + lane)
                    power = code.register(width, "power")
                    below = form.memory.get(place) - top[lane]
                    code.store(power, self._power(below, width, lane), lane)
                    form.memory.put(power[lane], place)
                    code.store(total, total[lane] + power[lane], lane)
        for total, (at, width) in zip(sums, form.lines, strict=True):
            with code.vector(width) as lane:
                place = i64(at) + lane
                code.store(self.total, self.total[place] * self.factor[place] + total[lane], place)

    def _maxima(self, form: Form, tops: list[Any]) -> None:
        """Apply the steps to the chunk's scores and find each row's largest."""
        code, attention = self.code, self.attention
        causal = attention.causal
        if causal is None:
            with code.loop(self.count, "j") as j:
                self._steps(form, j, tops, None)
            return
        # All rows see the keys up to the first row's last one.
        reach = self.first + causal.late + i64(1) - self.start
        clear = code.slot(tirx.max(tirx.min(reach, self.count), i64(0)), "clear")
        with code.loop(clear, "j") as j:
            self._steps(form, j, tops, None)
        rest = code.slot(self.count - clear, "rest")
        with code.loop(rest, "behind") as behind:
            self._steps(form, code.slot(clear + behind, "j"), tops, causal)

    def _steps(self, form: Form, j: Any, tops: list[Any], causal: Causal | None) -> None:
        code, attention = self.code, self.attention
        for top, (at, width) in zip(tops, form.lines, strict=True):
            with code.vector(width) as lane:
                place = form.memory.score(j, i64(at) + lane)
                row, key = self.row(i64(at) + lane), self.start + j
                value = form.memory.get(place)
                for step in attention.steps:
                    value = step(value, [*self.batch, row, key])
                if causal is not None:
                    value = tirx.Select(key <= row + causal.late, value, f32(self.hidden))
                if causal is not None or attention.steps:
                    form.memory.put(value, place)
                code.store(top, tirx.max(top[lane], form.memory.get(place)), lane)

    def _power(self, x: Any, width: int, lane: Any) -> Any:
        """The power of a difference x <= 0 of scores."""
        x = x if self.exponents else x * f32(LOG2_E)
        return exp2_of_negative(self.code, x, width, lane)

    def finish(self) -> None:
        """Make factors that divide by the sums."""
        code = self.code
        for at, width in self.whole.lines:
            with code.vector(width) as lane:
                # No key at all gives zeros, as an empty sum does.
                seen = self.attention.keys > i64(0)
                some = tirx.Select(seen, self.total[i64(at) + lane], f32(1.0))
                code.store(self.factor, f32(1.0) / some, i64(at) + lane)
