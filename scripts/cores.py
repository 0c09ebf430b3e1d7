"""Timing at several threads on a machine whose cores are not always its own.

The host of a virtual machine may run two of its processors on the two threads of one core, for
seconds or minutes, and other programs take cores as well. What two threads reach then says nothing
about an engine. So TVM's own threads are probed between the bursts, and a burst counts only where
they had cores of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

from tvm_sod2.demo.timing import side_by_side
from tvm_sod2.schedules.peak import fastest, multiply_adds

FREE = 0.85
"""The share of perfect scaling from which cores count as free."""

SLEEP_SECONDS = 0.15
"""Longer than the threads of TVM and ONNX Runtime spin before they sleep."""

_CALLS = 5


def scaling(threads: int) -> float:
    """How many times as many multiply-adds as one of TVM's threads several do."""
    (alone, one), (together, several) = _programs(threads)
    return several / fastest(together, _CALLS) / (one / fastest(alone, _CALLS))


@cache
def _programs(threads: int) -> list[tuple[Callable[[], object], float]]:
    return [multiply_adds(1), multiply_adds(threads)]


def timed_in_turn(
    first: Callable[[], object], second: Callable[[], object], seconds: float, threads: int
) -> tuple[float, float]:
    """Median seconds of a call of each: processor time at one thread, the clock's at several.

    The first program runs on TVM's threads.
    """
    if threads == 1:
        return side_by_side(first, second, seconds, time.process_time)
    return side_by_side(
        first,
        second,
        seconds,
        settle=SLEEP_SECONDS,
        ready=lambda: scaling(threads) >= FREE * threads,
    )
