"""Products of widened bytes: what stands before them, and what fusion makes of it."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

from tests.passes.rewriting import constants, operators, rng, run
from tvm_sod2.passes.fuse import fuse
from tvm_sod2.passes.integer_operands import integer_operands

WIDE = rng.integers(-128, 128, (6, 4)).astype("int32")
NINE_BITS = rng.integers(0, 256, (6, 4)).astype("int32") - np.int32(200)


def product(weight: np.ndarray) -> tvm.IRModule:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 6), "uint8"), zero: R.Tensor((), "int32")):
            with R.dataflow():
                a = R.astype(x, "int32")
                b = R.subtract(a, zero)
                y = R.matmul(b, R.const(weight))
                z = R.matmul(b, R.const(weight))
                out = R.add(y, z)
                R.output(out)
            return out

    return Net


def test_each_product_widens_for_itself() -> None:
    narrowed = integer_operands(product(WIDE))
    relax.analysis.well_formed(narrowed)
    one = ["astype", "subtract", "astype", "matmul"]
    assert operators(narrowed) == [*one, *one, "add"]
    assert all(str(c.dtype) == "int8" for c in constants(narrowed))


def test_nine_bits_become_eight_and_a_sum() -> None:
    before, after = product(NINE_BITS), integer_operands(product(NINE_BITS))
    relax.analysis.well_formed(after)
    assert operators(after).count("matmul") == 4
    weights = [c for c in constants(after) if c.ndim == 2]
    assert all(str(c.dtype) == "int8" for c in weights)
    for n in (0, 1, 5):
        x = rng.integers(0, 256, (n, 6)).astype("uint8")
        zero = np.array(77, "int32")
        np.testing.assert_array_equal(run(after, x, zero), run(before, x, zero))


def test_widening_joins_the_group_of_its_product() -> None:
    fused = fuse(integer_operands(product(WIDE)))
    groups = [f for v, f in fused.functions_items() if v.name_hint != "main"]
    inputs = sorted([str(p.ty.dtype) for p in group.params] for group in groups)
    assert inputs == [["uint8", "int32", "int8"], ["uint8", "int32", "int8", "int32"]]


def test_other_integer_products_stay() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 6), "int32")):
            with R.dataflow():
                y = R.matmul(x, R.const(WIDE))
                R.output(y)
            return y

    tvm.ir.assert_structural_equal(integer_operands(Net), Net)


def test_grouped_convolutions_keep_nine_bits() -> None:
    weight = rng.integers(-255, 256, (4, 1, 3, 3)).astype("int32")

    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 4, "h", "w"), "uint8")):
            with R.dataflow():
                a = R.astype(x, "int32")
                y = R.nn.conv2d(a, R.const(weight), groups=4)
                R.output(y)
            return y

    narrowed = integer_operands(Net)
    assert operators(narrowed) == ["astype", "astype", "conv2d"]
    assert [str(c.dtype) for c in constants(narrowed)] == ["int16"]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_a_run_time_operand_is_signed_without_zero_point(dtype: str) -> None:
    """What it lacks then is a multiple of the sums of the other operand's rows."""

    @I.ir_module
    class Net:
        @R.function
        def main(
            x: R.Tensor(("m", 6), "uint8"),
            y: R.Tensor((6, "n"), dtype),
            zero: R.Tensor((), "int32"),
        ):
            with R.dataflow():
                a = R.astype(x, "int32")
                b = R.subtract(a, R.const(3))
                c = R.astype(y, "int32")
                d = R.subtract(c, zero)
                out = R.matmul(b, d)
                R.output(out)
            return out

    after = integer_operands(Net)
    relax.analysis.well_formed(after)
    widened, signed = ["astype", "subtract"], ["astype", "subtract", "astype"]
    shift = ["add"] if dtype == "uint8" else []
    assert operators(after) == [
        *widened,
        *(signed if dtype == "uint8" else []),
        "astype",
        *shift,
        *widened,
        "sum",
        "matmul",
        "multiply",
        "subtract",
    ]
    limits = np.iinfo(dtype)
    for m, n in ((0, 1), (1, 0), (5, 7)):
        a = rng.integers(0, 256, (m, 6)).astype("uint8")
        b = rng.integers(limits.min, limits.max + 1, (6, n)).astype(dtype)
        given = a, b, np.array(9, "int32")
        np.testing.assert_array_equal(run(after, *given), run(Net, *given))
