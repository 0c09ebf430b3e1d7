"""Timing two programs side by side on a machine that does other things too."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

SETTLE_SECONDS = 0.01
"""How long a burst runs before its calls count, for the caches and for one thread's clock."""

BURST_CALLS, BURST_SECONDS = 5, 0.005
"""A burst counts so many calls at least, and calls for so long at least."""

PATIENCE_SECONDS = 120.0
"""How long bursts may fail to count."""


def side_by_side(
    first: Callable[[], object],
    second: Callable[[], object],
    seconds: float = 2.0,
    clock: Callable[[], float] = time.perf_counter,
    settle: float = SETTLE_SECONDS,
    ready: Callable[[], bool] = lambda: True,
) -> tuple[float, float]:
    """Median seconds of a call of each, over bursts that take turns for about ``seconds`` in all.

    Taking turns gives both the same share of whatever else the machine does. The first ``settle``
    seconds of a burst warm the caches again, let the other program's threads go to sleep, and do
    not count. ``clock`` measures the calls: time.process_time counts processor time, which is what
    remains to compare where other programs take the cores. ``ready`` is asked between the two
    bursts of a turn, which count only where it was true then and after the next turn's first.
    Raises TimeoutError when that took PATIENCE_SECONDS more.
    """
    times: tuple[list[float], list[float]] = ([], [])
    patience = time.perf_counter() + PATIENCE_SECONDS + seconds
    left = seconds
    turn: tuple[list[float], list[float], float] | None = None
    while left > 0 or not times[1]:
        if time.perf_counter() > patience:
            raise TimeoutError(f"the machine was not free for {PATIENCE_SECONDS:.0f} seconds")
        start = time.perf_counter()
        mine = _burst(first, clock, settle)
        free = ready()
        if turn and free:
            times[0].extend(turn[0])
            times[1].extend(turn[1])
            left -= turn[2]
        theirs = _burst(second, clock, settle)
        turn = (mine, theirs, time.perf_counter() - start) if free else None
    return statistics.median(times[0]), statistics.median(times[1])


def _burst(program: Callable[[], object], clock: Callable[[], float], settle: float) -> list[float]:
    """Seconds of each counted call."""
    settled = time.perf_counter() + settle
    program()
    while time.perf_counter() < settled:
        program()
    times: list[float] = []
    end = time.perf_counter() + BURST_SECONDS
    while len(times) < BURST_CALLS or time.perf_counter() < end:
        start = clock()
        program()
        times.append(clock() - start)
    return times
