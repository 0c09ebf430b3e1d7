"""What rounding decides: values that cannot be compared, and the second disturbance that tells."""

from __future__ import annotations

from typing import Any

import numpy as np

from .drawing import MOST_ENTRIES, SAMPLES, RejectedError
from .values import Held, Value, items, tolerance

LARGEST = 1e4


def tame(value: Held) -> bool:
    """Whether all is finite. Raises RejectedError where the two values are too far apart."""
    for some, others in zip(value.exact, value.noisy, strict=True):
        if isinstance(some, list) and isinstance(others, list) and len(some) != len(others):
            raise RejectedError
    pairs = [pair for sample in range(SAMPLES) for _, *pair in items(value, sample)]
    if np.dtype(value.dtype).kind not in "biuf":
        raise RejectedError
    if isinstance(value, Value) and len({exact.ndim for exact, _ in pairs}) != 1:
        raise RejectedError
    finite = True
    for exact, noisy in pairs:
        if exact.shape != noisy.shape or exact.size > MOST_ENTRIES:
            raise RejectedError
        if exact.dtype.kind != "f":
            if not np.array_equal(exact, noisy):
                raise RejectedError
            small = exact.dtype.kind == "b" or np.abs(exact.astype("float64")).max(initial=0)
            if small > LARGEST:
                raise RejectedError
            continue
        same = np.array_equal(np.isfinite(exact), np.isfinite(noisy))
        largest = np.abs(exact[np.isfinite(exact)]).max(initial=0)
        if not same or largest > (200 if exact.dtype.itemsize == 2 else LARGEST):
            raise RejectedError
        if tolerance(exact, noisy) > 0.02 * largest + 1e-2:
            raise RejectedError
        finite &= bool(np.isfinite(exact).all())
    return finite


def mirrored(value: Held, sample: int) -> Any:
    """What `noisy` is, disturbed the other way: of a tie one of the two decides otherwise."""
    exact, noisy = value.exact[sample], value.noisy[sample]
    if isinstance(exact, list) and isinstance(noisy, list):
        return [_reflected(*pair) for pair in zip(exact, noisy, strict=True)]
    assert isinstance(exact, np.ndarray) and isinstance(noisy, np.ndarray)
    return _reflected(exact, noisy)


def _reflected(exact: np.ndarray, noisy: np.ndarray) -> np.ndarray:
    return np.asarray(2 * exact - noisy, exact.dtype) if exact.dtype.kind == "f" else exact
