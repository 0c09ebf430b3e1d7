"""Casts of rounded numbers to bytes: every number's byte, and what the rule leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import tvm_ffi
from kernel_cases import Case, Compiled, dims, tensor
from tvm import relax, tirx

from tvm_sod2.schedules.requantise import requantise_in_bits

op = relax.op

LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}
ZEROS = (-128, -1, 0, 3, 255)
EDGES = [-np.inf, -3e38, -(2.0**22) - 1, -129, -128.5, -0.5, -0.0, 0.5, 1.5, 2.5, 126.5, 127.5]
EDGES += [128.5, 254.5, 255.5, 2.0**22 + 1, 2.0**24, 2.0**31, 3e38, np.inf]


def stored(x: object, zero: object, dtype: str) -> object:
    """saturate(round(x) + zero), as quantisation is imported."""
    low, high = LIMITS[dtype]
    steps = op.add(op.round(x), op.astype(zero, "float32"))
    return op.astype(op.clip(steps, low, high), dtype)


def expected(x: np.ndarray, zero: int, dtype: str) -> np.ndarray:
    steps = np.rint(x.astype(np.float64)) + zero
    return steps.clip(*LIMITS[dtype]).astype(dtype)


@pytest.fixture(scope="module")
def run() -> Compiled:
    scalar = relax.TensorType((), "int16")
    (n,) = dims("n")
    total = relax.TensorType((n,), "int32")
    cases = {
        dtype: Case(lambda x, zero, t=dtype: stored(x, zero, t), [tensor(n), scalar])
        for dtype in LIMITS
    }
    cases["scaled"] = Case(
        lambda x, factor, zero: stored(op.multiply(op.astype(x, "float32"), factor), zero, "int8"),
        [total, tensor(n), scalar],
    )
    return Compiled(cases)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("count", [0, 1, 31, 257])
def test_edges_and_lengths(run: Compiled, dtype: str, count: int) -> None:
    x = np.resize(np.array(EDGES, np.float32), count)
    for zero in ZEROS:
        result = run(dtype, x, np.array(zero, np.int16))
        np.testing.assert_array_equal(result, expected(x, zero, dtype))


def test_product_and_sum_round_apart(run: Compiled) -> None:
    """A multiply-add would round once: of a million numbers that differs at a few halves."""
    rng = np.random.default_rng(0)
    total = rng.integers(-(2**20), 2**20, 2**20).astype(np.int32)
    factor = rng.uniform(2e-5, 1e-4, total.shape).astype(np.float32)
    x = total.astype(np.float32) * factor
    assert (np.rint(x) != np.rint(total.astype(np.float64) * factor)).any()
    result = run("scaled", total, factor, np.array(3, np.int16))
    np.testing.assert_array_equal(result, expected(x, 3, "int8"))


def test_kernels_do_not_round(run: Compiled) -> None:
    text = run.mod.script()
    assert "12582912" in text
    assert not any(rounding in text for rounding in ("nearbyint", "8388608"))


def cast(x: object, zero: object, low: float = 0, high: float = 255) -> tirx.PrimFunc:
    bounded = tirx.Min(tirx.Max(x + zero, tirx.const(low, "float32")), tirx.const(high, "float32"))
    out = tirx.decl_buffer([1], "uint8", "out")
    return tirx.PrimFunc([out], tirx.BufferStore(out, tirx.Cast("uint8", bounded), [0]))


@pytest.mark.parametrize(
    "reason",
    ["a bound beyond the type", "a bound that is not whole", "an offset not whole", "not rounded"],
)
def test_refused(reason: str) -> None:
    x = tirx.Var("x", "float32")
    rounded, three = tirx.nearbyint(x), tirx.const(3.0, "float32")
    kept = {
        "a bound beyond the type": cast(rounded, three, high=300),
        "a bound that is not whole": cast(rounded, three, low=0.5),
        "an offset not whole": cast(rounded, tirx.Var("z", "float32")),
        "not rounded": cast(x, three),
    }[reason]
    assert tvm_ffi.structural_equal(requantise_in_bits(kept), kept, map_free_vars=True)
    taken = cast(rounded, three)
    assert not tvm_ffi.structural_equal(requantise_in_bits(taken), taken, map_free_vars=True)
