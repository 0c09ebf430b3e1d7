"""Operators on constants are computed at build."""

from __future__ import annotations

import numpy as np
import pytest
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tests.passes.rewriting import constants, operators
from tvm_sod2.passes.fold_constants import fold_constants


def test_operators_on_constants_are_computed_at_build() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor((2, "n"), "float32")):
            with R.dataflow():
                a = R.permute_dims(R.const(np.arange(6, dtype="float32").reshape(2, 3)))
                b = R.add(a, R.const(np.float32(1)))
                c = R.matmul(b, x)
                R.output(c)
            return c

    folded = fold_constants(Net)
    assert operators(folded) == ["matmul"]
    assert constants(folded)[0].tolist() == [[1, 4], [2, 5], [3, 6]]


def test_a_constant_stretched_to_a_run_time_size_stays_an_operator() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor((3, "n"), "float32")):
            n = T.int64()
            with R.dataflow():
                a = R.broadcast_to(R.const(np.ones((3, 1), "float32")), R.shape([3, n]))
                b = R.maximum(a, x)
                R.output(b)
            return b

    assert operators(fold_constants(Net)) == ["broadcast_to", "maximum"]


def test_large_weights_are_moved_but_not_made_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvm_sod2.passes.fold_constants.MAX_ELEMENTS", 4)

    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor((3, 2), "float32")):
            with R.dataflow():
                a = R.permute_dims(R.const(np.arange(6, dtype="float32").reshape(2, 3)))
                b = R.broadcast_to(R.const(np.ones((3, 1), "float32")), R.shape([3, 2]))
                c = R.add(R.multiply(a, x), b)
                R.output(c)
            return c

    assert operators(fold_constants(Net)) == ["broadcast_to", "multiply", "add"]
