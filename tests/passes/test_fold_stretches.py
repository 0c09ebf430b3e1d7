"""Run-time broadcasting is undone where RDP has proved what it does."""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tests.passes.rewriting import operators
from tvm_sod2.passes.fold_stretches import fold_stretches


def stretched(size: str | int) -> tvm.IRModule:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", size), "float32"), y: R.Tensor(("n", "m"), "float32")):
            n, m = T.int64(), T.int64()
            with R.dataflow():
                a = R.take(x, R.arange(0, m, 1), axis=1, mode="clip")
                b = R.nn.relu(a)
                R.output(b)
            return b

    return relax.transform.Normalize()(Net)


def test_a_stretch_of_a_dim_that_fits_is_nothing() -> None:
    assert operators(fold_stretches(stretched("m"))) == ["relu"]


def test_a_stretch_of_a_dim_of_one_is_a_broadcast() -> None:
    folded = fold_stretches(stretched(1))
    relax.analysis.well_formed(folded)
    assert operators(folded) == ["broadcast_to", "relu"]


def test_a_stretch_that_nobody_understands_stays() -> None:
    assert operators(fold_stretches(stretched("k"))) == ["arange", "take", "relu"]
