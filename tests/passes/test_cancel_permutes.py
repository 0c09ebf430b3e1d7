"""Transposes that undo each other disappear; those that move data stay."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tests.passes.rewriting import operators, rng, run
from tvm_sod2.passes.cancel_permutes import cancel_permutes


def test_permutes_that_undo_each_other_are_gone() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "h", "w", 8), "float32")):
            with R.dataflow():
                a = R.permute_dims(x, [0, 3, 1, 2])
                b = R.permute_dims(a, [0, 2, 3, 1])
                c = R.nn.relu(b)
                R.output(c)
            return c

    assert operators(cancel_permutes(Net)) == ["relu"]


def test_a_permute_through_a_merge_of_axes_becomes_a_reshape() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "h", "w", 8), "float32")):
            n, h, w = T.int64(), T.int64(), T.int64()
            with R.dataflow():
                a = R.permute_dims(x, [0, 3, 1, 2])
                b = R.reshape(a, R.shape([n, 8, h * w]))
                c = R.permute_dims(b, [0, 2, 1])
                R.output(c)
            return c

    cancelled = cancel_permutes(Net)
    relax.analysis.well_formed(cancelled)
    assert operators(cancelled) == ["reshape"]
    x = rng.normal(size=(2, 3, 5, 8)).astype("float32")
    np.testing.assert_array_equal(run(cancelled, x), run(Net, x))


def test_a_permute_that_really_moves_data_stays() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "h", "w", 8), "float32")):
            n, h, w = T.int64(), T.int64(), T.int64()
            with R.dataflow():
                a = R.permute_dims(x, [0, 3, 2, 1])
                b = R.reshape(a, R.shape([n, 8, w * h]))
                c = R.permute_dims(b, [0, 2, 1])
                R.output(c)
            return c

    assert operators(cancel_permutes(Net)) == ["permute_dims", "reshape", "permute_dims"]


def test_what_stands_between_is_computed_in_the_other_order() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "t", 514), "float32")):
            n, t = T.int64(), T.int64()
            with R.dataflow():
                a = R.permute_dims(x, [0, 2, 1])
                b = R.reshape(a, R.shape([n, 2, 257, t]))
                c = R.multiply(b, b)
                d = R.sum(c, axis=[1])
                e = R.permute_dims(d, [0, 2, 1])
                R.output(e)
            return e

    @I.ir_module
    class Expected:
        @R.function
        def main(x: R.Tensor(("n", "t", 514), "float32")):
            n, t = T.int64(), T.int64()
            with R.dataflow():
                b = R.reshape(x, R.shape([n, t, 2, 257]))
                c = R.multiply(b, b)
                e = R.sum(c, axis=[2])
                R.output(e)
            return e

    cancelled = cancel_permutes(Net)
    tvm.ir.assert_structural_equal(cancelled, Expected)
    for n, t in ((2, 3), (1, 1), (0, 5), (3, 0)):
        x = rng.normal(size=(n, t, 514)).astype("float32")
        expected = (x.reshape(n, t, 2, 257) ** 2).sum(axis=2)
        np.testing.assert_allclose(run(cancelled, x), expected, rtol=1e-6)


def test_a_permute_that_moves_axes_of_1_alone_is_a_reshape() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 1, "t"), "float32")):
            with R.dataflow():
                a = R.permute_dims(x, [0, 2, 1])
                R.output(a)
            return a

    cancelled = cancel_permutes(Net)
    assert operators(cancelled) == ["reshape"]
    x = rng.normal(size=(3, 1, 5)).astype("float32")
    np.testing.assert_array_equal(run(cancelled, x), x.transpose(0, 2, 1))


def test_an_axis_that_a_reshape_splits_and_a_permute_parts_stays() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "t", 6), "float32")):
            n, t = T.int64(), T.int64()
            with R.dataflow():
                a = R.permute_dims(x, [0, 2, 1])
                b = R.reshape(a, R.shape([n, 2, 3, t]))
                c = R.permute_dims(b, [0, 2, 3, 1])
                R.output(c)
            return c

    assert operators(cancel_permutes(Net)) == ["permute_dims", "reshape", "permute_dims"]


def test_what_others_read_too_is_not_computed_twice() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "t", 6), "float32")):
            with R.dataflow():
                a = R.permute_dims(x, [0, 2, 1])
                b = R.exp(a)
                c = R.permute_dims(b, [0, 2, 1])
                d = R.sum(b, axis=[1])
                R.output(c, d)
            return (c, d)

    found = operators(cancel_permutes(Net))
    assert found == ["permute_dims", "exp", "permute_dims", "sum"]


def test_broadcast_operands_stay_where_they_are() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "t", 6), "float32"), y: R.Tensor(("t",), "float32")):
            with R.dataflow():
                a = R.permute_dims(x, [0, 2, 1])
                b = R.add(a, y)
                c = R.permute_dims(b, [0, 2, 1])
                R.output(c)
            return c

    assert operators(cancel_permutes(Net)) == ["permute_dims", "add", "permute_dims"]


def test_a_dim_of_0_is_left_alone() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor((1, 0, 3), "float32")):
            with R.dataflow():
                a = R.permute_dims(x, [1, 0, 2])
                R.output(a)
            return a

    assert operators(cancel_permutes(Net)) == ["permute_dims"]


def test_pools_run_in_the_other_layout() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 9, 7, 4), "float32")):
            with R.dataflow():
                a = R.permute_dims(x, [0, 3, 1, 2])
                b = R.nn.leakyrelu(a, alpha=0.5)
                c = R.nn.max_pool2d(b, pool_size=[3, 2], strides=[2, 1], padding=[0, 1, 1, 0])
                d = R.nn.avg_pool2d(c, pool_size=[2, 2], padding=[1, 1, 1, 1])
                e = R.permute_dims(d, [0, 2, 3, 1])
                R.output(e)
            return e

    cancelled = cancel_permutes(Net)
    relax.analysis.well_formed(cancelled)
    assert operators(cancelled) == ["leakyrelu", "max_pool2d", "avg_pool2d"]
    x = rng.normal(size=(2, 9, 7, 4)).astype("float32")
    np.testing.assert_allclose(run(cancelled, x), run(Net, x), rtol=1e-6)


def test_a_pool_over_channels_stays() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 9, 7, 4), "float32")):
            with R.dataflow():
                a = R.permute_dims(x, [0, 2, 1, 3])
                b = R.nn.max_pool2d(a, pool_size=[3, 2])
                c = R.permute_dims(b, [0, 2, 1, 3])
                R.output(c)
            return c

    before = ["permute_dims", "max_pool2d", "permute_dims"]
    assert operators(cancel_permutes(Net)) == before
