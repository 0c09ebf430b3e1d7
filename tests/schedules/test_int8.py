"""Products of bytes, exact: remainders of rows, columns and words, and all instruction forms."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from kernel_cases import Case, Compiled, conv2d, dims
from tvm import relax

from tvm_sod2.schedules.traits import Traits, host_target

op = relax.op

ROWS = (0, 1, 2, 5, 11, 12, 13, 25)
DTYPES = ("uint8", "int8")
# Rows and columns of the weights.
SIZES = ((1, 33), (3, 1), (4, 64), (37, 15), (130, 33))

HOST = Traits.from_target(host_target())
FORMS = {"plain": replace(HOST, vector_bytes=16, dot="plain")}
if platform.machine() in ("x86_64", "AMD64"):
    FORMS |= {"pairs": replace(HOST, vector_bytes=16, vector_registers=16, dot="madd")}


def scalar() -> relax.TensorType:
    return relax.TensorType((), "int32")


def bytes_(*shape: int, dtype: str = "int8") -> np.ndarray:
    """All values of the type, the same for the same shape."""
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(sum(shape))
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def wide(x: Any, zero: Any = None) -> Any:
    x = op.astype(x, "int32")
    return x if zero is None else op.subtract(x, zero)


def requantised(total: Any, scale: Any) -> Any:
    steps = op.round(op.multiply(op.astype(total, "float32"), scale))
    return op.astype(op.clip(steps, 0.0, 255.0), "uint8")


def _product(dtype: str, k: int, n: int) -> Case:
    return Case(
        lambda x, z, w: op.matmul(wide(x, z), wide(w)),
        [relax.TensorType((*dims("m"), k), dtype), scalar()],
        [bytes_(k, n)],
    )


def _products() -> dict[str, Case]:
    cases = {f"{dtype}_{k}_{n}": _product(dtype, k, n) for dtype in DTYPES for k, n in SIZES}
    for dtype in DTYPES:
        data = relax.TensorType((*dims("m"), 130), dtype)
        cases[f"no_zero_{dtype}"] = Case(
            lambda x, w: op.matmul(wide(x), wide(w)), [data], [bytes_(130, 33)]
        )
    b, s = dims("b s")
    cases["requantised"] = Case(
        lambda x, z, w, scale: requantised(op.matmul(wide(x, z), wide(w)), scale),
        [relax.TensorType((b, s, 37), "uint8"), scalar()],
        [bytes_(37, 40), np.linspace(1e-3, 4e-3, 40, dtype=np.float32)],
    )
    return cases


# Kernel, inputs, outputs, stride, padding, dilation, groups.
CONVOLUTIONS = {
    "pointwise": (1, 20, 33, 1, 0, 1, 1),
    "strided_pointwise": (1, 20, 33, 2, 0, 1, 1),
    "words": (3, 20, 40, 1, 1, 1, 1),
    "first_layer": (3, 3, 24, 2, 1, 1, 1),
    "dilated": (3, 8, 24, 1, 2, 2, 1),
    "dilated_strided": (3, 6, 20, 2, 5, 5, 1),
    "wide_window": (5, 5, 16, 1, 2, 1, 1),
    "grouped": (3, 20, 24, 1, 1, 1, 2),
    "depthwise": (3, 40, 40, 1, 1, 1, 40),
    "strided_depthwise": (5, 33, 33, 2, 2, 1, 33),
    "two_taps_depthwise": (2, 22, 22, 1, 1, 1, 22),
    "one_tap_depthwise": (1, 17, 17, 1, 0, 1, 17),
    "wide_depthwise": (7, 16, 16, 3, 3, 1, 16),
    "nine_bits": (3, 33, 33, 2, 1, 1, 33),
    "dilated_depthwise": (3, 16, 16, 1, 2, 2, 16),
}

SIGNED = ("words", "first_layer", "depthwise", "strided_depthwise", "dilated_depthwise")


def _weight(name: str) -> np.ndarray:
    kernel, inputs, outputs, *_, groups = CONVOLUTIONS[name]
    weight = bytes_(outputs, kernel, kernel, inputs // groups)
    return weight * np.int16(2) if name == "nine_bits" else weight


def _convolution(name: str, dtype: str) -> Case:
    n, h, w = dims("n h w")
    _, inputs, _, stride, padding, dilation, groups = CONVOLUTIONS[name]
    attrs = {"strides": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Case(
        lambda x, z, k: op.nn.conv2d(
            wide(x, z), wide(k), data_layout="NHWC", kernel_layout="OHWI", **attrs
        ),
        [relax.TensorType((n, h, w, inputs), dtype), scalar()],
        [_weight(name)],
    )


@pytest.fixture(scope="module")
def run() -> Compiled:
    convolutions = {f"{name}_uint8": _convolution(name, "uint8") for name in CONVOLUTIONS}
    signed = {f"{name}_int8": _convolution(name, "int8") for name in SIGNED}
    return Compiled({**_products(), **convolutions, **signed})


def test_all_are_emitted(run: Compiled) -> None:
    assert all(choice.startswith("int8 ") for choice in run.choices.values()), run.choices


def _check_product(run: Compiled, dtype: str, k: int, n: int) -> None:
    w = bytes_(k, n).astype(np.int64)
    for m in ROWS:
        x = bytes_(m, k, dtype=dtype)
        for zero in (np.iinfo(dtype).min, 7, np.iinfo(dtype).max):
            result = run(f"{dtype}_{k}_{n}", x, np.array(zero, np.int32))
            np.testing.assert_array_equal(result, (x.astype(np.int64) - zero) @ w)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("k", "n"), SIZES)
def test_rows_depths_and_columns(run: Compiled, dtype: str, k: int, n: int) -> None:
    _check_product(run, dtype, k, n)


@pytest.mark.parametrize("form", FORMS)
def test_instruction_forms(form: str) -> None:
    cases = {f"{dtype}_37_15": _product(dtype, 37, 15) for dtype in DTYPES}
    convolutions = {f"{name}_int8": _convolution(name, "int8") for name in ("words", "depthwise")}
    other = Compiled({**cases, **convolutions}, FORMS[form])
    assert all(choice.startswith("int8 ") for choice in other.choices.values())
    for dtype in DTYPES:
        _check_product(other, dtype, 37, 15)
    for name in ("words", "depthwise"):
        _check_convolution(other, name, "int8")


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_a_zero_point(run: Compiled, dtype: str) -> None:
    x = bytes_(13, 130, dtype=dtype)
    expected = x.astype(np.int64) @ bytes_(130, 33).astype(np.int64)
    np.testing.assert_array_equal(run(f"no_zero_{dtype}", x), expected)


def test_epilogue(run: Compiled) -> None:
    w, scale = bytes_(37, 40).astype(np.int64), np.linspace(1e-3, 4e-3, 40, dtype=np.float32)
    for batch, rows in ((1, 1), (2, 13), (3, 5)):
        x = bytes_(batch, rows, 37, dtype="uint8")
        total = ((x.astype(np.int64) - 100) @ w).astype(np.float32)
        expected = np.clip(np.rint(total * scale), 0, 255).astype(np.uint8)
        result = run("requantised", x, np.array(100, np.int32))
        np.testing.assert_array_equal(result, expected)


def _check_convolution(run: Compiled, name: str, dtype: str) -> None:
    kernel, inputs, _, stride, padding, dilation, groups = CONVOLUTIONS[name]
    least = max(1, (kernel - 1) * dilation + 1 - 2 * padding)
    for n, h, w in ((0, 5, 5), (1, least, least), (2, 5, 8), (1, 9, 31)):
        x = bytes_(n, max(h, least), max(w, least), inputs, dtype=dtype)
        for zero in (0, 100):
            expected = conv2d(
                x.astype(np.int64) - zero,
                _weight(name),
                (stride, stride),
                [padding] * 4,
                (dilation, dilation),
                groups,
            )
            result = run(f"{name}_{dtype}", x, np.array(zero, np.int32))
            np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(run: Compiled, name: str) -> None:
    _check_convolution(run, name, "uint8")
    if name in SIGNED:
        _check_convolution(run, name, "int8")
