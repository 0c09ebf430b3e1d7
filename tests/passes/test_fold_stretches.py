"""Broadcasts that stretch nothing are removed."""

from __future__ import annotations

import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tests.passes.rewriting import operators
from tvm_sod2.passes.fold_stretches import fold_stretches


def stretched(rows: str | int, size: str | int) -> tvm.IRModule:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor((rows, size), "float32"), y: R.Tensor(("n", "m"), "float32")):
            n, m = T.int64(), T.int64()
            with R.dataflow():
                a = R.broadcast_to(x, R.shape([n, m]))
                b = R.nn.relu(a)
                R.output(b)
            return b

    return relax.transform.Normalize()(Net)


def test_a_stretch_to_the_own_shape_is_nothing() -> None:
    assert operators(fold_stretches(stretched("n", "m"))) == ["relu"]


@pytest.mark.parametrize(("rows", "size"), [("n", 1), ("n", "k"), ("m", "n")])
def test_any_other_stretch_stays(rows: str, size: str | int) -> None:
    folded = fold_stretches(stretched(rows, size))
    relax.analysis.well_formed(folded)
    assert operators(folded) == ["broadcast_to", "relu"]
