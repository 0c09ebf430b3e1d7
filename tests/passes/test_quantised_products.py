"""Float products of dequantised operands become integer products."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

from tests.passes.rewriting import operators, rng, run
from tvm_sod2.passes.quantised_products import LONGEST, quantised_products

BYTES = rng.integers(-127, 128, (4, 6)).astype("int32")
PER_COLUMN = rng.random((4, 1)).astype("float32")


def network(scale: np.ndarray, weight: np.ndarray = BYTES) -> tvm.IRModule:
    """Gemm with transposed weights, as quantisers leave it."""

    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 6), "uint8")):
            with R.dataflow():
                a = R.astype(x, "int32")
                b = R.subtract(a, R.const(7))
                c = R.astype(b, "float32")
                d = R.multiply(c, R.const(0.05, "float32"))
                w = R.subtract(R.const(weight), R.const(3))
                v = R.astype(w, "float32")
                u = R.multiply(v, R.const(scale))
                t = R.permute_dims(u, [1, 0])
                y = R.matmul(d, t)
                R.output(y)
            return y

    return Net


@pytest.mark.parametrize("scale", [np.float32(0.1), PER_COLUMN], ids=["one", "per_column"])
def test_the_sum_is_of_integers_and_scaled_once(scale: np.ndarray) -> None:
    before = network(scale)
    after = quantised_products(before)
    relax.analysis.well_formed(after)
    assert operators(after)[-2:] == ["astype", "multiply"]
    assert _product_dtype(after) == "int32"
    x = rng.integers(0, 256, (5, 6)).astype("uint8")
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=1e-5, atol=1e-4)


def test_a_scale_along_the_reduction_is_refused() -> None:
    before = network(rng.random((1, 6)).astype("float32"))
    assert _product_dtype(quantised_products(before)) == "float32"


def test_weights_of_more_bits_are_refused() -> None:
    before = network(np.float32(0.1), BYTES * 3)
    assert _product_dtype(quantised_products(before)) == "float32"


def test_sums_that_may_overflow_are_refused() -> None:
    depth = LONGEST + 1

    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", depth), "uint8")):
            with R.dataflow():
                a = R.astype(x, "int32")
                b = R.astype(a, "float32")
                c = R.multiply(b, R.const(0.5, "float32"))
                w = R.multiply(R.const(np.ones((depth, 1), "float32")), R.const(0.5, "float32"))
                y = R.matmul(c, w)
                R.output(y)
            return y

    assert _product_dtype(quantised_products(Net)) == "float32"


def _product_dtype(mod: tvm.IRModule) -> str:
    (found,) = (
        str(b.value.ty.dtype)
        for block in mod["main"].body.blocks
        for b in block.bindings
        if b.value.op.name == "relax.matmul"
    )
    return found
