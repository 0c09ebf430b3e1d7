"""The window of a convolution has to fit into its input at least once; pooling may give nothing."""

from __future__ import annotations

import pytest
import tvm
from tvm.script import ir as I
from tvm.script import relax as R

import tvm_sod2
from tvm_sod2.errors import ShapeError


@I.ir_module
class Pooled:
    @R.function
    def main(x: R.Tensor(("n", "h", "w", 4), "float32")):
        with R.dataflow():
            y = R.nn.max_pool2d(x, (3, 2), (2, 2), layout="NHWC", out_layout="NHWC")
            R.output(y)
        return y


def test_an_input_smaller_than_the_window_by_more_than_a_stride_is_refused() -> None:
    report = tvm_sod2.analyze(Pooled)
    assert report.constraints == ("y: dim 1 of its result is (h - 3) // 2 + 1, expected 0 or more",)
    for condition, symbol, least in zip(report.conditions, "h", (1,), strict=True):
        assert eval(str(condition), {}, {symbol: least})
        assert not eval(str(condition), {}, {symbol: least - 1})


def test_bounds_that_make_the_window_fit_need_no_check() -> None:
    main = Pooled["main"].with_attr("tir_var_lower_bound", {"h": 1})
    assert tvm_sod2.analyze(tvm.IRModule({"main": main})).constraints == ()


def test_a_window_that_never_fits_is_refused_at_once() -> None:
    @I.ir_module
    class Small:
        @R.function
        def main(x: R.Tensor(("n", 3, 2, "w"), "float32"), k: R.Tensor((8, 3, 3, 3), "float32")):
            with R.dataflow():
                y = R.nn.conv2d(x, k)
                R.output(y)
            return y

    with pytest.raises(ShapeError, match="y: dim 2 of its result is 0, expected 1 or more"):
        tvm_sod2.analyze(Small)
