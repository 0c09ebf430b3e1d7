"""16-bit floats: what sums many terms is rounded once, at the end."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
import tvm
from peer import parsed
from tvm import relax

import tvm_sod2

TYPES = {"float16": (np.float16, 2.0**-10), "bfloat16": (ml_dtypes.bfloat16, 2.0**-7)}


def _run(model: onnx.ModelProto, *given: np.ndarray) -> np.ndarray:
    run = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(model)), tvm.cpu())["main"]
    return run(*map(tvm.runtime.tensor, given)).numpy()


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("(T[n,k] x, T[k,m] w) => (T[n,m] y) { y = MatMul(x, w) }", lambda x, w: x @ w),
        (
            "(T[n,k] x, T[k,m] w) => (T[n,1] y) { u = Softmax(x) y = ReduceSum(u, a) }",
            lambda x, w: np.ones((len(x), 1)),
        ),
        (
            "(T[n,k] x, T[k,m] w) => (T[n,1] y) { u = Abs(x) y = ReduceMean(u, a) }",
            lambda x, w: np.abs(x).mean(1, keepdims=True),
        ),
    ],
    ids=["matmul", "softmax", "mean"],
)
def test_long_sums_are_exact_to_the_last_digit(kind: str, text: str, reference: object) -> None:
    dtype, digit = TYPES[kind]
    axes = " <int64[1] a = {1}> {" if "a)" in text else " {"
    model = parsed(text.replace("T[", f"{kind}[").replace(" {", axes, 1))
    rng = np.random.default_rng(0)
    x, w = (rng.uniform(0, 1, shape).astype(dtype) for shape in ((3, 4099), (4099, 5)))
    wanted = reference(x.astype("float64"), w.astype("float64"))  # type: ignore[operator]
    found = _run(model, x, w)
    assert found.dtype == dtype
    # The sum of the softmax adds the digits lost in each of its terms.
    loose = 4 if "Softmax" in text else 1
    np.testing.assert_allclose(found.astype("float64"), wanted, rtol=loose * digit)
