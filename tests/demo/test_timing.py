"""Timing in turns."""

from __future__ import annotations

import time

from tvm_sod2.demo.timing import side_by_side


def test_takes_turns_and_tells_slow_from_fast() -> None:
    order: list[str] = []

    def slow() -> None:
        order.append("slow")
        time.sleep(0.004)

    fast, slower = side_by_side(lambda: order.append("fast"), slow, seconds=0.1)
    assert fast < 0.004 <= slower
    turns = [name for name, before in zip(order, ["", *order], strict=False) if name != before]
    assert turns[:4] == ["fast", "slow", "fast", "slow"]


def test_measures_both_once_even_when_time_is_up() -> None:
    assert all(seconds > 0 for seconds in side_by_side(lambda: None, lambda: None, seconds=0))
