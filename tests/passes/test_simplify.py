"""Small algebra: before, after, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

from tests.passes.rewriting import operators, rng, run
from tvm_sod2.passes.simplify import simplify


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda x: R.power(x, R.const(2.0)), ["multiply"]),
        (lambda x: R.power(x, R.const(0.5)), ["sqrt"]),
        (lambda x: R.power(x, R.const(3.0)), ["multiply", "multiply"]),
        (lambda x: R.power(x, R.const(5.0)), ["power"]),
        (lambda x: R.divide(x, R.const(np.full((1,), 4, "float32"))), ["multiply"]),
        (lambda x: R.exp(R.multiply(x, R.const(1.0))), ["exp"]),
        (lambda x: R.exp(R.add(R.const(np.zeros((1, 1), "float32")), x)), ["exp"]),
        (lambda x: R.exp(R.add(x, R.const(np.zeros((1, 1, 1), "float32")))), ["add", "exp"]),
        (lambda x: R.clip(x, 0.0, 6.0), ["maximum", "minimum"]),
    ],
)
def test_small_algebra(before, after: list[str]) -> None:
    builder = relax.BlockBuilder()
    n, m = tvm.tirx.Var("n", "int64"), tvm.tirx.Var("m", "int64")
    x = relax.Var("x", relax.TensorType((n, m), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(before(x))
        builder.emit_func_output(result)
    mod = builder.get()
    simplified = simplify(mod)
    relax.analysis.well_formed(simplified)
    assert operators(simplified) == after
    data = np.abs(rng.normal(size=(3, 4))).astype("float32")
    np.testing.assert_allclose(run(simplified, data), run(mod, data), rtol=1e-6)


def test_division_by_constants_at_the_ends_of_the_range() -> None:
    """By zero it is multiplication by infinity; by a denormal it cannot be turned around."""

    def divided_by(value: float) -> tvm.IRModule:
        divisor = R.const(np.full((2,), value, "float32"))

        @I.ir_module
        class Net:
            @R.function
            def main(x: R.Tensor(("n", 2), "float32")):
                with R.dataflow():
                    a = R.divide(x, divisor)
                    R.output(a)
                return a

        return simplify(Net)

    assert operators(divided_by(1e-45)) == ["divide"]
    x = np.array([[0.0, -0.0], [1.0, -2.0], [np.inf, np.nan]], "float32")
    for zero in (0.0, -0.0):
        with np.errstate(all="ignore"):
            expected = x / np.float32(zero)
        np.testing.assert_array_equal(run(divided_by(zero), x), expected)


def test_a_single_number_is_divided() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor((), "float32")):
            with R.dataflow():
                a = R.divide(x, R.const(255.0, "float32"))
                R.output(a)
            return a

    assert operators(simplify(Net)) == ["divide"]


def test_an_integer_division_is_left_alone() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n",), "int32")):
            with R.dataflow():
                a = R.divide(x, R.const(4, "int32"))
                R.output(a)
            return a

    assert operators(simplify(Net)) == ["divide"]


def test_a_quotient_that_is_rounded_stays_one() -> None:
    """Times the inverse, 0.15 / 0.1 is another integer; sums of integers are scaled back anyway."""
    tenth = np.float32(0.1)

    @I.ir_module
    class Rounded:
        @R.function
        def main(x: R.Tensor(("n",), "float32"), i: R.Tensor(("n",), "int32")):
            with R.dataflow():
                a = R.divide(x, R.const(tenth))
                b = R.round(a)
                c = R.astype(i, "float32")
                d = R.divide(c, R.const(tenth))
                e = R.round(d)
                f = R.add(b, e)
                R.output(f)
            return f

    assert operators(simplify(Rounded)) == ["divide", "round", "astype", "multiply", "round", "add"]


@pytest.mark.parametrize("repeats", [[1, 1, 1], [1, 2, 1], [3, 1, 2], [2, 2, 2], [0, 1, 2]])
def test_tile_is_a_stretch_between_reshapes(repeats: list[int]) -> None:
    n, m = tvm.tirx.Var("n", "int64"), tvm.tirx.Var("m", "int64")
    x = relax.Var("x", relax.TensorType([n, 3, m], "float32"))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            y = bb.emit_output(relax.op.tile(x, repeats))
        bb.emit_func_output(y)
    after = simplify(bb.get())
    # A reshape would read the 0 as a dim to copy.
    assert ("tile" in operators(after)) == (0 in repeats)
    for shape in ((1, 3, 1), (2, 3, 5), (0, 3, 4)):
        array = np.arange(np.prod(shape), dtype="float32").reshape(shape)
        np.testing.assert_array_equal(run(after, array), np.tile(array, repeats))
