"""`where` on conditions that are computed on the spot, and on those that are loaded."""

from __future__ import annotations

import numpy as np
import pytest
from rules_cases import Kernel, dims, random, schedule, tensor
from tvm import relax

op = relax.op
(n,) = dims("n")
SIZES = (0, 1, 7, 15, 16, 17, 131)
SPECIAL = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3e38], np.float32)


def numbers(count: int) -> np.ndarray:
    """Random numbers with every special value among them."""
    x = random(count)
    some = np.random.default_rng(count).permutation(count)[: count // 2]
    x[some] = np.resize(SPECIAL, len(some))
    return x


def test_larger_of_two_or_no_number() -> None:
    def larger(bb, x, y):
        chosen = bb.emit(op.maximum(x, y))
        return op.where(bb.emit(op.isnan(x)), x, chosen)

    kernel = Kernel([tensor(n), tensor(n)], larger)
    text = schedule(kernel.func).script()
    assert "isnan" not in text and 'Cast("int64"' not in text
    for count in SIZES:
        x, y = numbers(count), numbers(count)[::-1].copy()
        np.testing.assert_array_equal(kernel(x, y)[0], np.maximum(x, y))


@pytest.mark.parametrize("compare", [op.less, op.greater_equal, op.equal])
def test_comparisons(compare) -> None:
    kernel = Kernel([tensor(n), tensor(n)], lambda bb, x, y: op.where(bb.emit(compare(x, y)), x, y))
    assert 'Cast("int64"' not in schedule(kernel.func).script()
    reference = getattr(np, compare.__name__)
    for count in SIZES:
        x, y = numbers(count), numbers(count)[::-1].copy()
        np.testing.assert_array_equal(kernel(x, y)[0], np.where(reference(x, y), x, y))


def test_of_loaded_booleans() -> None:
    kernel = Kernel([tensor(n, dtype="bool"), tensor(n), tensor(n)], lambda bb, *xs: op.where(*xs))
    for count in SIZES:
        condition = np.random.default_rng(0).random(count) < 0.5
        x, y = random(count), random(count)
        np.testing.assert_array_equal(kernel(condition, x, y)[0], np.where(condition, x, y))
