"""Shapes from tensors keep the symbols of the cast behind them."""

from __future__ import annotations

import tvm
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.passes.shape_values import lower_shape_values


def test_a_cast_names_the_dims() -> None:
    @I.ir_module
    class Before:
        @R.function
        def main(t: R.Tensor((2,), "int64"), x: R.Tensor(("k",), "float32")) -> R.Object:
            n, m = T.int64(), T.int64()
            with R.dataflow():
                s = R.tensor_to_shape(t)
                _ = R.match_cast(s, R.Shape([n, m]))
                y = R.reshape(x, R.shape([n, m]))
                R.output(y)
            return y

    @I.ir_module
    class Expected:
        @R.function
        def main(t: R.Tensor((2,), "int64"), x: R.Tensor(("k",), "float32")) -> R.Object:
            n, m = T.int64(), T.int64()
            with R.dataflow():
                s = R.call_pure_packed("vm.builtin.tensor_to_shape", t, ty_args=(R.Shape(ndim=2),))
                _ = R.match_cast(s, R.Shape([n, m]))
                y = R.reshape(x, R.shape([n, m]))
                R.output(y)
            return y

    tvm.ir.assert_structural_equal(lower_shape_values(Before), Expected)


def test_a_shape_that_is_read_itself_stays() -> None:
    @I.ir_module
    class Module:
        @R.function
        def main(t: R.Tensor((2,), "int64"), x: R.Tensor(("k",), "float32")) -> R.Object:
            n, m = T.int64(), T.int64()
            with R.dataflow():
                s = R.tensor_to_shape(t)
                _ = R.match_cast(s, R.Shape([n, m]))
                y: R.Tensor(ndim=2, dtype="float32") = R.reshape(x, s)
                R.output(y)
            return y

    tvm.ir.assert_structural_equal(lower_shape_values(Module), Module)
