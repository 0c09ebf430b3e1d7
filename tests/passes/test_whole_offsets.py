"""Zero points beside rounded numbers keep an integer type, into their kernel."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

from tests.passes.rewriting import operators, run
from tvm_sod2.passes.fuse import fuse
from tvm_sod2.passes.whole_offsets import whole_offsets


def quantised(offset: np.ndarray) -> tvm.IRModule:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3), "float32")):
            with R.dataflow():
                a = R.round(x)
                b = R.add(a, R.const(offset))
                c = R.maximum(b, R.const(0.0, "float32"))
                d = R.minimum(c, R.const(255.0, "float32"))
                y = R.astype(d, "uint8")
                R.output(y)
            return y

    return Net


WHOLE = {
    "one": np.array(128, "float32"),
    "each channel": np.array([0, 7, 255], "float32"),
    "none": np.zeros((1, 3), "float32"),
}


@pytest.mark.parametrize("offset", WHOLE.values(), ids=WHOLE)
def test_whole_offsets_are_widened(offset: np.ndarray) -> None:
    before, after = quantised(offset), whole_offsets(quantised(offset))
    relax.analysis.well_formed(after)
    assert operators(after) == ["round", "astype", "add", "maximum", "minimum", "astype"]
    for n in (0, 1, 5):
        x = np.linspace(-300, 300, 3 * n, dtype="float32").reshape(n, 3)
        np.testing.assert_array_equal(run(after, x), run(before, x))


@pytest.mark.parametrize("offset", [0.5, 2.0**15, np.inf, np.nan])
def test_other_offsets_stay(offset: float) -> None:
    before = quantised(np.array(offset, "float32"))
    assert operators(whole_offsets(before)) == operators(before)


def test_an_unrounded_sum_stays() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n",), "float32")):
            with R.dataflow():
                y = R.add(x, R.const(3.0, "float32"))
                R.output(y)
            return y

    tvm.ir.assert_structural_equal(whole_offsets(Net), Net)


def test_kernels_differ_by_bounds_and_share_offsets() -> None:
    """The offset is a parameter of the group, the bounds are written into it."""
    fused = fuse(whole_offsets(quantised(WHOLE["one"])))
    (group,) = (f for v, f in fused.functions_items() if v.name_hint != "main")
    assert [str(p.ty.dtype) for p in group.params] == ["float32", "int16"]
