"""Dims with a condition in them, and slices and ranges whose ends are computed, become kernels."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

import tvm_sod2
from tvm_sod2.passes.select_dims import select_dims


@I.ir_module
class Clamped:
    @R.function
    def main(x: R.Tensor(("n",), "float32")):
        n = T.int64()
        with R.dataflow():
            y = R.nn.relu(R.strided_slice(x, axes=[0], begin=[0], end=[n - 1]))
            R.output(y)
        return y


@I.ir_module
class Computed:
    @R.function
    def main(x: R.Tensor(("n",), "float32")):
        n = T.int64()
        with R.dataflow():
            part = R.strided_slice(x, axes=[0], begin=[n // 2], end=[n], assume_inbound=True)
            y = R.add(part, R.arange(R.prim_value(n // 2), R.prim_value(n), 1, dtype="float32"))
            R.output(y)
        return y


def test_no_dim_is_a_call() -> None:
    before = relax.transform.LegalizeOps()(Clamped)
    assert "if_then_else" in str(before["main"].ret_ty)
    after = select_dims(before)
    dims = [str(param.ty) for func in after.functions.values() for param in func.params]
    assert not any("if_then_else" in text for text in [str(after["main"].ret_ty), *dims])


@pytest.mark.parametrize("size", [1, 2, 7])
def test_slices_and_ranges_end_where_they_should(size: int) -> None:
    x = np.arange(size, dtype="float32") - 1
    for module, expected in (
        (Clamped, np.maximum(x[: size - 1], 0)),
        (Computed, x[size // 2 :] + np.arange(size // 2, size)),
    ):
        main = relax.VirtualMachine(tvm_sod2.build(module), tvm.cpu())["main"]
        np.testing.assert_array_equal(main(tvm.runtime.tensor(x)).numpy(), expected)
