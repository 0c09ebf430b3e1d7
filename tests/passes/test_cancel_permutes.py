"""Transposes that undo each other disappear; those that move data stay."""

from __future__ import annotations

import numpy as np
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
