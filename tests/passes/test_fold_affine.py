"""Scales and shifts behind linear operators fold into their weights."""

from __future__ import annotations

import numpy as np
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

from tests.passes.rewriting import SCALE, SHIFT, WEIGHT, constants, operators, rng, run
from tvm_sod2.passes.fold_affine import fold_affine


def test_scale_and_shift_fold_into_a_convolution() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3, "h", "w"), "float32")):
            with R.dataflow():
                a = R.nn.conv2d(x, R.const(WEIGHT), padding=1)
                b = R.add(a, R.const(SHIFT))
                c = R.multiply(b, R.const(SCALE))
                d = R.add(R.const(np.float32(2.0)), c)
                e = R.nn.relu(d)
                R.output(e)
            return e

    folded = fold_affine(Net)
    relax.analysis.well_formed(folded)
    assert operators(folded) == ["conv2d", "add", "relu"]
    weight, shift = constants(folded)
    np.testing.assert_allclose(weight, WEIGHT * SCALE.reshape(4, 1, 1, 1))
    np.testing.assert_allclose(shift.ravel(), SHIFT.ravel() * SCALE.ravel() + 2, rtol=1e-6)
    x = rng.normal(size=(2, 3, 5, 4)).astype("float32")
    np.testing.assert_allclose(run(folded, x), run(Net, x), atol=1e-5)


def test_scale_folds_into_a_matmul_along_its_columns() -> None:
    weight = rng.normal(size=(6, 5)).astype("float32")
    scale = rng.normal(size=5).astype("float32")

    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "m", 6), "float32")):
            with R.dataflow():
                a = R.matmul(x, R.const(weight))
                b = R.multiply(a, R.const(scale))
                R.output(b)
            return b

    folded = fold_affine(Net)
    assert operators(folded) == ["matmul"]
    np.testing.assert_allclose(constants(folded)[0], weight * scale)


def test_a_result_used_twice_keeps_its_weights() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3, "h", "w"), "float32")):
            with R.dataflow():
                a = R.nn.conv2d(x, R.const(WEIGHT))
                b = R.multiply(a, R.const(SCALE))
                c = R.add(a, b)
                R.output(c)
            return c

    assert operators(fold_affine(Net)) == ["conv2d", "multiply", "add"]


def test_a_scale_that_varies_along_rows_is_left_alone() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3, "h", 6), "float32")):
            with R.dataflow():
                a = R.nn.conv2d(x, R.const(WEIGHT))
                b = R.multiply(a, R.const(np.ones((4,), "float32") * 3))
                R.output(b)
            return b

    assert operators(fold_affine(Net)) == ["conv2d", "multiply"]
