"""Polynomial mathematics against float64 over all of float32, special values included."""

from collections.abc import Callable

import numpy as np
import pytest
import tvm
import tvm_ffi
from rules_cases import TARGET
from scipy import special
from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import ForKind, IntImm, PrimFunc

from tvm_sod2.schedules import math as sod2_math
from tvm_sod2.schedules import trigonometry
from tvm_sod2.schedules.vectorise_math import vectorise_math

LANES = 16


def sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


REFERENCE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "log": np.log,
    "erf": special.erf,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "sin": np.sin,
    "cos": np.cos,
}

ABSOLUTE = {"erf": 1.2e-7, "tanh": 1.2e-7, "sigmoid": 1.2e-7, "sin": 1e-7, "cos": 1e-7}
ULP = sod2_math.MAX_ULP | trigonometry.MAX_ULP


def loop(value: Callable[[Expr], Expr]) -> PrimFunc:
    """``B[i] = value(A[i])`` in vectors; sizes are multiples of 16."""
    n, i, lane = (tirx.Var(name, "int64") for name in ("n", "i", "lane"))
    a = tirx.decl_buffer((n,), "float32", name="A")
    b = tirx.decl_buffer((n,), "float32", name="B")
    at = i * LANES + lane
    store = tirx.BufferStore(b, value(tirx.BufferLoad(a, [at])), [at])
    zero = IntImm("int64", 0)
    body = tirx.For(lane, zero, IntImm("int64", LANES), ForKind.VECTORIZED, store)
    body = tirx.For(i, zero, n // LANES, ForKind.SERIAL, body)
    return PrimFunc([a, b], body).with_attrs(
        {"tirx.noalias": True, "global_symbol": "main", "s_tir": True}
    )


def apply(func: PrimFunc, x: np.ndarray) -> tuple[np.ndarray, str]:
    module = tvm.compile(tvm.IRModule({"main": func}), target=TARGET)
    out = tvm.runtime.tensor(np.zeros_like(x))
    module["main"](tvm.runtime.tensor(x), out)
    return out.numpy(), module.mod.inspect_source("ll")


def samples() -> np.ndarray:
    """Every 1021st bit pattern, the ends of every range, and dense steps where results vary."""
    patterns = np.arange(0, 2**32, 1021, dtype=np.uint64).astype(np.uint32).view(np.float32)
    special_values = np.array(
        [
            *(0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-45, -1e-45, 1e-38, -1e-38),
            *(88.72283, 88.72284, 88.7229, -87.3, -87.4, -103.97, -103.98, -104.0, 3e38, -3e38),
            *(0.625, 0.92773, 0.92774, 3.99, 4.01, 9.01, 10.0),
        ],
        np.float32,
    )
    dense = np.linspace(-20, 20, 400_000).astype(np.float32)
    ones = np.linspace(0.5, 2, 200_000).astype(np.float32)
    quarters = (np.arange(1, 20_000) * np.pi / 2).astype(np.float32)
    x = np.concatenate([special_values, dense, ones, quarters, patterns])
    return np.resize(x, -(-len(x) // LANES) * LANES)


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_error_bounds_and_special_values(name: str) -> None:
    x = samples()
    func = loop(lambda v: tirx.call_intrin("float32", f"tirx.{name}", v))
    y, code = apply(vectorise_math(func), x)
    with np.errstate(all="ignore"):
        exact = REFERENCE[name](x.astype(np.float64))
        rounded = exact.astype(np.float32)
    finite = np.isfinite(rounded)
    error = np.abs(y[finite].astype(np.float64) - exact[finite])
    ulp = np.spacing(np.abs(rounded[finite])).astype(np.float64)
    assert (error / ulp).max() <= ULP[name]
    assert error.max() <= ABSOLUTE.get(name, np.inf)
    np.testing.assert_array_equal(y[~finite], rounded[~finite])
    known = ~np.isnan(rounded)
    np.testing.assert_array_equal(np.signbit(y[known]), np.signbit(rounded[known]))
    assert f"<{LANES} x float>" in code
    assert f"call float @{name}f" not in code


@pytest.mark.parametrize("exponent", [-3.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 7.0, 8.0])
def test_constant_powers(exponent: float) -> None:
    x = np.resize(
        np.concatenate(
            [
                np.linspace(-30, 30, 4000),
                np.array([0.0, -0.0, np.inf, -np.inf, np.nan]),
            ]
        ).astype(np.float32),
        4016,
    )
    func = loop(
        lambda v: tirx.call_intrin("float32", "tirx.pow", v, tirx.FloatImm("float32", exponent))
    )
    y, code = apply(vectorise_math(func), x)
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.float64), np.full(len(x), exponent))
    if exponent == 0.0:
        exact = np.ones_like(exact)  # IEEE: also of a NaN
    np.testing.assert_allclose(y, exact.astype(np.float32), rtol=6e-7)
    assert "powf" not in code


@pytest.mark.parametrize("exponent", [0.3, 9.0, -20.0])
def test_other_powers_stay_calls(exponent: float) -> None:
    func = loop(
        lambda v: tirx.call_intrin("float32", "tirx.pow", v, tirx.FloatImm("float32", exponent))
    )
    assert tvm_ffi.structural_equal(vectorise_math(func), func)


def test_other_types_stay_calls() -> None:
    x = tirx.Var("x", "float64")
    func = PrimFunc([x], tirx.Evaluate(tirx.exp(x)))
    assert tvm_ffi.structural_equal(vectorise_math(func), func)


def test_nearbyint_is_exact() -> None:
    special_values = [0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, 8388607.5, 8388608.0, 1e30]
    ends = [-1e30, np.inf, -np.inf, np.nan, -0.0, 4194304.5, 3.7]
    x = np.array([*special_values, *ends], np.float32)
    x = np.concatenate([x, np.random.default_rng(0).normal(0, 1e4, 4080).astype(np.float32)])
    found, _ = apply(loop(sod2_math.nearbyint), x)
    np.testing.assert_array_equal(found, np.rint(x))
    np.testing.assert_array_equal(np.signbit(found), np.signbit(np.rint(x)))
