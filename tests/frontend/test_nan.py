"""NaN: what is compared with it is false, and so what is not compared so is true."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from onnx.reference import ReferenceEvaluator
from peer import check, parsed
from tvm import relax

import tvm_sod2

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


@pytest.mark.parametrize("width", [1, 33])
def test_nan_is_the_extreme_as_in_numpy(width: int) -> None:
    outputs = ", ".join(f"int64[a{i},b{i}] {name}" for i, name in enumerate("abcdef"))
    model = parsed(
        f"(float[n,m] x) => ({outputs}) {{"
        " a = ArgMax<axis = 1>(x) b = ArgMin<axis = 1>(x)"
        " c = ArgMax<axis = 1, select_last_index = 1>(x)"
        " d = ArgMin<axis = 1, select_last_index = 1>(x)"
        " e = ArgMax<axis = 0>(x) f = ArgMin<axis = 0, keepdims = 1>(x) }"
    )
    run = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(model)), tvm.cpu())["main"]
    rng = np.random.default_rng(width)
    values = np.array([1, 2, 0, -0.0, np.inf, -np.inf], "float32")
    for rows, share in ((1, 0.5), (7, 0.1), (18, 0), (3, 1)):
        x = rng.choice(values, (rows, width))
        x[rng.random(x.shape) < share] = np.nan
        expected = ReferenceEvaluator(model).run(None, {"x": x})
        for mine, theirs in zip(run(tvm.runtime.tensor(x)), expected, strict=True):
            np.testing.assert_array_equal(mine.numpy(), theirs)


def test_differences_that_do_not_cancel() -> None:
    """x - x of NaN and infinity is NaN; a sum that was rounded is not undone."""
    model = parsed(
        "(float[n] x, float[n] y) => (float[n] a, float[n] b, float[n] c, float[n] d, float[n] e)"
        " <float big = {12582912.0}> { a = Sub(x, x) p = Abs(x) q = Abs(x) b = Sub(p, q)"
        " r = Add(x, big) c = Sub(r, big) s = Add(x, y) d = Sub(s, x) e = Sub(x, s) }"
    )
    run = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(model)), tvm.cpu())["main"]
    big = np.float32(12582912)
    with np.errstate(invalid="ignore"):
        for x, y in ((X, Y), (X[:3] * 0.7, Y[:3]), (np.linspace(-9, 9, 50, dtype="float32"),) * 2):
            none, total = x - x, x + y
            expected = [none, none, (x + big) - big, total - x, x - total]
            for mine, value in zip(run(*map(tvm.runtime.tensor, (x, y))), expected, strict=True):
                np.testing.assert_array_equal(mine.numpy(), value)
