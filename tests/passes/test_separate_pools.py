"""Maxima over windows as maxima over columns and rows: what is separated, and what it computes."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

import tvm_sod2
from tests.passes.rewriting import operators, rng
from tvm_sod2.passes.separate_pools import separate_pools


def test_columns_before_rows() -> None:
    @I.ir_module
    class Before:
        @R.function
        def main(x: R.Tensor(("n", 4, "h", "w"), "float32")):
            with R.dataflow():
                y = R.nn.max_pool2d(x, [5, 3], strides=[2, 1], padding=[2, 1, 1, 0])
                R.output(y)
            return y

    @I.ir_module
    class After:
        @R.function
        def main(x: R.Tensor(("n", 4, "h", "w"), "float32")):
            with R.dataflow():
                c = R.nn.max_pool2d(x, [5, 1], strides=[2, 1], padding=[2, 0, 1, 0])
                y = R.nn.max_pool2d(c, [1, 3], strides=[1, 1], padding=[0, 1, 0, 0])
                R.output(y)
            return y

    tvm.ir.assert_structural_equal(separate_pools(Before), After)


def pool(layout: str, size: list[int], strides: list[int], dilation: list[int]) -> tvm.IRModule:
    """One pool with pads of half a window."""
    n, h, w = (tvm.tirx.Var(name, "int64") for name in "nhw")
    dims = [n, 3, h, w] if layout == "NCHW" else [n, h, w, 3]
    x = relax.Var("x", relax.TensorType(dims, "float32"))
    before = [(k - 1) * d // 2 for k, d in zip(size, dilation, strict=True)]
    padding = [*before, *((k - 1) * d - p for k, d, p in zip(size, dilation, before, strict=True))]
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            call = relax.op.nn.max_pool2d(x, size, strides, padding, dilation, layout=layout)
            result = builder.emit_output(call)
        builder.emit_func_output(result)
    return builder.get()


@pytest.mark.parametrize(
    ("size", "strides"), [([3, 3], [2, 2]), ([2, 2], [1, 1]), ([9, 1], [1, 1]), ([1, 9], [1, 1])]
)
def test_what_would_compare_no_less_stays(size: list[int], strides: list[int]) -> None:
    mod = pool("NCHW", size, strides, [1, 1])
    assert tvm_ffi.structural_equal(separate_pools(mod), mod)


def test_averages_stay() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 4, "h", "w"), "float32")):
            with R.dataflow():
                y = R.nn.avg_pool2d(x, [5, 5])
                R.output(y)
            return y

    assert tvm_ffi.structural_equal(separate_pools(Net), Net)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("size", "strides", "dilation"),
    [
        ([3, 3], [1, 1], [1, 1]),
        ([5, 5], [2, 2], [1, 1]),
        ([13, 9], [1, 1], [1, 1]),
        ([3, 5], [1, 2], [2, 3]),
    ],
)
def test_built_pools_at_awkward_sizes(
    layout: str, size: list[int], strides: list[int], dilation: list[int]
) -> None:
    mod = pool(layout, size, strides, dilation)
    assert operators(separate_pools(mod)) == ["max_pool2d", "max_pool2d"]
    main = relax.VirtualMachine(tvm_sod2.build(mod), tvm.cpu())["main"]
    for n, h, w in [(1, 1, 1), (2, 5, 7), (1, 16, 17), (1, 31, 15), (0, 9, 9), (1, 6, 67)]:
        x = rng.normal(size=(n, 3, h, w)).astype("float32") - 3
        expected = maxima(x, size, strides, dilation)
        given = x if layout == "NCHW" else x.transpose(0, 2, 3, 1).copy()
        found = main(tvm.runtime.tensor(given)).numpy()
        found = found if layout == "NCHW" else found.transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(found, expected)


def maxima(x: np.ndarray, size: list[int], strides: list[int], dilation: list[int]) -> np.ndarray:
    """The pool of `pool` by NumPy: windows of the padded image."""
    reach = [(k - 1) * d for k, d in zip(size, dilation, strict=True)]
    pads = [(0, 0), (0, 0), *((r // 2, r - r // 2) for r in reach)]
    padded = np.pad(x, pads, constant_values=-np.inf)
    spans = tuple(r + 1 for r in reach)
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, (2, 3))
    taken = windows[:, :, :: strides[0], :: strides[1], :: dilation[0], :: dilation[1]]
    return taken.max((4, 5)) if x.size else np.zeros(taken.shape[:4], np.float32)
