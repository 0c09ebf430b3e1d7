"""Timing at several threads on a machine whose cores are not always its own.

The host of a virtual machine may run two of its processors on the two threads of one core, for
seconds or minutes, and other programs take cores as well. What two threads reach then says nothing
about an engine, so a probe tells whether the cores are free, and only what was timed between two
such moments counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tvm_sod2.demo.timing import side_by_side

FREE = 0.85
"""The share of perfect scaling from which cores count as free."""

SLEEP_SECONDS = 0.15
"""Longer than the threads of TVM and ONNX Runtime spin before they sleep."""

_COUNT, _CALLS, _TRIES = 2**16, 40, 3
_POOL = ThreadPoolExecutor()


def scaling(threads: int) -> float:
    """How many times as fast as one thread several are, at exponentials of arrays in caches."""
    arrays = [np.zeros((2, _COUNT), np.float32) for _ in range(threads)]

    def work(array: np.ndarray) -> None:
        for _ in range(_CALLS):
            np.exp(array[0], out=array[1])

    def together(count: int) -> float:
        start = time.perf_counter()
        list(_POOL.map(work, arrays[:count]))
        return time.perf_counter() - start

    alone = min(together(1) for _ in range(_TRIES))
    return threads * alone / min(together(threads) for _ in range(_TRIES))


def timed_in_turn(
    first: Callable[[], object], second: Callable[[], object], seconds: float, threads: int
) -> tuple[float, float]:
    """Median seconds of a call of each: processor time at one thread, the clock's at several."""
    if threads == 1:
        return side_by_side(first, second, seconds, time.process_time)

    def ready() -> bool:
        time.sleep(SLEEP_SECONDS)
        return scaling(threads) >= FREE * threads

    return side_by_side(first, second, seconds, settle=SLEEP_SECONDS, ready=ready)
