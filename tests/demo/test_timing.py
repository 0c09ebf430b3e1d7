"""Timing in turns."""

from __future__ import annotations

import time

import pytest

from tvm_sod2.demo import timing
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


def test_counts_only_turns_between_two_ready_moments() -> None:
    answers = iter([True, False, True, True])
    turn = 0

    def ready() -> bool:
        nonlocal turn
        turn += 1
        return next(answers)

    def program() -> None:
        time.sleep(0.001 if turn in (2, 3) else 0.02)

    first, second = side_by_side(program, program, 0, settle=0, ready=ready)
    assert next(answers, None) is None
    assert first < 0.02 and second < 0.02


def test_gives_up_on_a_machine_that_is_never_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(TimeoutError, match="not free"):
        side_by_side(lambda: None, lambda: None, 0, ready=lambda: False)
