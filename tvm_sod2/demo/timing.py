"""Timing two programs side by side on a machine that does other things too."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

SETTLE_SECONDS = 0.01
"""How long a burst runs before its calls count: the other program's threads spin for a while."""


def side_by_side(
    first: Callable[[], object],
    second: Callable[[], object],
    seconds: float = 2.0,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """Median seconds of a call of each, over bursts that take turns for about ``seconds`` in all.

    Taking turns gives both the same share of whatever else the machine does. The first calls of a
    burst warm the caches again and do not count. ``clock`` measures the calls: time.process_time
    counts processor time, which is what remains to compare where other programs take the cores.
    """
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not times[1]:
        for program, found in zip((first, second), times, strict=True):
            settled = time.perf_counter() + SETTLE_SECONDS
            program()
            while time.perf_counter() < settled:
                program()
            for _ in range(5):
                start = clock()
                program()
                found.append(clock() - start)
    return statistics.median(times[0]), statistics.median(times[1])
