"""Products of two run-time operands of bytes, exact: remainders of all dims, batches, all forms."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_cases import Case, Compiled, dims
from onnx import parser
from test_int8 import DTYPES, FORMS, bytes_, requantised, scalar, wide
from tvm import relax, runtime

import tvm_sod2

op = relax.op


def operand(dtype: str, *shape: object) -> relax.TensorType:
    return relax.TensorType(shape, dtype)


def cases(dtype: str) -> dict[str, Case]:
    p, m, k, n = dims("p m k n")
    return {
        f"any_{dtype}": Case(
            lambda x, z, w: op.matmul(wide(x, z), wide(w)),
            [operand(dtype, p, m, k), scalar(), operand("int8", k, n)],
        ),
        f"no_zero_{dtype}": Case(
            lambda x, w: op.matmul(wide(x), wide(w)),
            [operand(dtype, p, m, k), operand("int8", p, k, n)],
        ),
        f"static_{dtype}": Case(
            lambda x, z, w: op.matmul(wide(x, z), wide(w)),
            [operand(dtype, m, 37), scalar(), operand("int8", 37, 35)],
        ),
        f"few_columns_{dtype}": Case(
            lambda x, z, w: op.matmul(wide(x, z), wide(w)),
            [operand(dtype, m, 10), scalar(), operand("int8", 10, 3)],
        ),
    }


@pytest.fixture(scope="module")
def run() -> Compiled:
    p, m, k, n = dims("p m k n")
    scaled = Case(
        lambda x, w, s: requantised(op.matmul(wide(x), wide(w)), s),
        [operand("uint8", p, m, k), operand("int8", k, n), operand("float32", n)],
    )
    return Compiled({**cases("uint8"), **cases("int8"), "scaled": scaled})


def check(run: Compiled, dtype: str, p: int, m: int, k: int, n: int) -> None:
    x, w = bytes_(p, m, k, dtype=dtype), bytes_(k, n)
    for zero in (np.iinfo(dtype).min, 0, np.iinfo(dtype).max):
        expected = (x.astype(np.int64) - zero) @ w.astype(np.int64)
        result = run(f"any_{dtype}", x, np.array(zero, np.int32), w)
        np.testing.assert_array_equal(result, expected)


def test_all_are_emitted(run: Compiled) -> None:
    assert all(choice.startswith("int8 run-time") for choice in run.choices.values()), run.choices


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 31, 32, 33, 97])
def test_sizes(run: Compiled, dtype: str, n: int) -> None:
    for k in (0, 1, 3, 4, 5, 67):
        for m in (0, 1, 5, 6, 7, 13):
            check(run, dtype, 2, m, k, n)


@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_and_static_dims(run: Compiled, dtype: str) -> None:
    for p in (0, 1, 3):
        x, w = bytes_(p, 7, 18, dtype=dtype), bytes_(p, 18, 41)
        expected = x.astype(np.int64) @ w.astype(np.int64)
        np.testing.assert_array_equal(run(f"no_zero_{dtype}", x, w), expected)
    for name, k, n in (("static", 37, 35), ("few_columns", 10, 3)):
        x, w, zero = bytes_(9, k, dtype=dtype), bytes_(k, n), np.array(5, np.int32)
        expected = (x.astype(np.int64) - 5) @ w.astype(np.int64)
        np.testing.assert_array_equal(run(f"{name}_{dtype}", x, zero, w), expected)


def test_epilogue(run: Compiled) -> None:
    for n in (2, 4, 40):
        x, w = bytes_(2, 5, 21, dtype="uint8"), bytes_(21, n)
        scale = np.linspace(1e-3, 4e-3, n, dtype=np.float32)
        total = (x.astype(np.int64) @ w.astype(np.int64)).astype(np.float32)
        expected = np.clip(np.rint(total * scale), 0, 255).astype(np.uint8)
        np.testing.assert_array_equal(run("scaled", x, w, scale), expected)


@pytest.mark.parametrize("form", FORMS)
def test_instruction_forms(form: str) -> None:
    any_size = {name: case for t in DTYPES for name, case in cases(t).items() if "any" in name}
    other = Compiled(any_size, FORMS[form])
    assert all(FORMS[form].dot in choice for choice in other.choices.values())
    for dtype in DTYPES:
        for k, n in ((0, 5), (6, 3), (7, 9), (21, 33)):
            check(other, dtype, 1, 7, k, n)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_points_of_both_operands(dtype: str) -> None:
    """From ONNX: zero points are inputs, the second operand of either sign, or turned first."""
    graph = f"""<ir_version: 8, opset_import: ["" : 17]>
    g (uint8[p,m,k] a, {dtype}[p,n,k] b, uint8 za, {dtype} zb) => (int32[p,m,n] y) {{
        t = Transpose<perm=[0,2,1]>(b)
        y = MatMulInteger(a, t, za, zb)
    }}"""
    vm = relax.VirtualMachine(
        tvm_sod2.build(tvm_sod2.from_onnx(parser.parse_model(graph))), runtime.device("cpu")
    )
    limits = np.iinfo(dtype)
    for m, k, n in ((0, 4, 5), (1, 1, 1), (7, 13, 34), (6, 0, 3)):
        a, b = bytes_(2, m, k, dtype="uint8"), bytes_(2, n, k, dtype=dtype)
        for za, zb in ((0, limits.max), (200, limits.min), (255, 3)):
            given = (a, b, np.array(za, "uint8"), np.array(zb, dtype))
            expected = (a.astype(int) - za) @ (b.astype(int) - zb).swapaxes(1, 2)
            result = vm["main"](*map(runtime.tensor, given)).numpy()
            np.testing.assert_array_equal(result, expected)
