"""No cast makes a symbol an expression over itself."""

from __future__ import annotations

import tvm
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.passes.safe_casts import safe_casts


def test_a_symbol_cast_to_a_dim_over_itself_forgets_the_dim_first() -> None:
    @I.ir_module
    class Before:
        @R.function
        def main(x: R.Tensor(("n * n",), "float32"), s: R.Shape(["n"])) -> R.Object:
            n = T.int64()
            y = R.match_cast(x, R.Tensor((n,), "float32"))
            return y

    @I.ir_module
    class Expected:
        @R.function
        def main(x: R.Tensor(("n * n",), "float32"), s: R.Shape(["n"])) -> R.Object:
            n = T.int64()
            z = R.match_cast(x, R.Tensor(ndim=1, dtype="float32"))
            y = R.match_cast(z, R.Tensor((n,), "float32"))
            return y

    tvm.ir.assert_structural_equal(safe_casts(Before), Expected)


def test_other_casts_stay() -> None:
    @I.ir_module
    class Module:
        @R.function
        def main(x: R.Tensor(("m + 1",), "float32"), s: R.Shape(["m"])) -> R.Object:
            n = T.int64()
            y = R.match_cast(x, R.Tensor((n,), "float32"))
            return y

    tvm.ir.assert_structural_equal(safe_casts(Module), Module)
