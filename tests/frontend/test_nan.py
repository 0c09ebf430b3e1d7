"""NaN: what is compared with it is false, and so what is not compared so is true."""

from __future__ import annotations

import numpy as np
import pytest
from peer import check, parsed

X = np.array([1, np.nan, -2, np.inf, np.nan, 3, -np.inf] * 5, "float32")
Y = np.array([1, 2, np.nan, np.inf, np.nan, 2, np.inf] * 5, "float32")


@pytest.mark.parametrize("other", ["x", "y"])
def test_comparisons_and_their_negations(other: str) -> None:
    names = ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]
    steps = " ".join(f"a{i} = {op}(x, {other}) b{i} = Not(a{i})" for i, op in enumerate(names))
    outputs = ", ".join(f"bool[n] a{i}, bool[n] b{i}" for i in range(len(names)))
    model = parsed(f"(float[n] x, float[n] y) => ({outputs}) {{ {steps} }}")
    check(model, [{"x": X, "y": Y}, {"x": X[:2], "y": Y[:2]}])


def test_numbers_put_for_nan() -> None:
    model = parsed(
        "(float[n] x, float[n] y) => (float[n] z, float[n] u)"
        "{ a = Equal(x, x) b = Not(a) z = Where(b, y, x) c = IsNaN(x) u = Where(c, y, x) }"
    )
    check(model, [{"x": X, "y": Y}])


def test_bounds_let_nan_pass() -> None:
    model = parsed(
        "(float[n] x, float[n] y) => (float[n] a, float[n] b, float[n] d, float[n] e)"
        " <float low = {-1.0}, float high = {2.0}> { a = Relu(x) b = Clip(x, low, high)"
        " d = Max(x, y) e = Min(x, y) }"
    )
    check(model, [{"x": X, "y": Y}, {"x": X[:3], "y": Y[:3]}])
