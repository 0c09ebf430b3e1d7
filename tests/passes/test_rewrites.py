"""The rewriting phase, pass by pass: before and after, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.passes.cancel_permutes import cancel_permutes
from tvm_sod2.passes.fold_affine import fold_affine
from tvm_sod2.passes.fold_constants import constant_array, fold_constants
from tvm_sod2.passes.fold_norms import fold_norms
from tvm_sod2.passes.fold_stretches import fold_stretches
from tvm_sod2.passes.layout import layout_passes
from tvm_sod2.passes.simplify import simplify

rng = np.random.default_rng(0)
WEIGHT = rng.normal(size=(4, 3, 3, 3)).astype("float32")
SCALE = rng.normal(size=(1, 4, 1, 1)).astype("float32")
SHIFT = rng.normal(size=(4, 1, 1)).astype("float32")


def operators(mod: tvm.IRModule) -> list[str]:
    """The operators of main, in order."""
    return [
        b.value.op.name.removeprefix("relax.").removeprefix("nn.")
        for block in mod["main"].body.blocks
        for b in block.bindings
        if isinstance(b.value, relax.Call)
    ]


def constants(mod: tvm.IRModule) -> list[np.ndarray]:
    """The constant operands of main's operators, in order."""
    calls = [b.value for block in mod["main"].body.blocks for b in block.bindings]
    arrays = [constant_array(a) for c in calls if isinstance(c, relax.Call) for a in c.args]
    return [array for array in arrays if array is not None]


def run(mod: tvm.IRModule, *arrays: np.ndarray) -> np.ndarray:
    main = relax.VirtualMachine(tvm.compile(mod, tvm.target.Target("llvm")), tvm.cpu())["main"]
    return main(*map(tvm.runtime.tensor, arrays)).numpy()


def test_scale_and_shift_fold_into_a_convolution() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3, "h", "w"), "float32")):
            with R.dataflow():
                a = R.nn.conv2d(x, R.const(WEIGHT), padding=1)
                b = R.add(a, R.const(SHIFT))
                c = R.multiply(b, R.const(SCALE))
                d = R.add(R.const(np.float32(2.0)), c)
                e = R.nn.relu(d)
                R.output(e)
            return e

    folded = fold_affine(Net)
    relax.analysis.well_formed(folded)
    assert operators(folded) == ["conv2d", "add", "relu"]
    weight, shift = constants(folded)
    np.testing.assert_allclose(weight, WEIGHT * SCALE.reshape(4, 1, 1, 1))
    np.testing.assert_allclose(shift.ravel(), SHIFT.ravel() * SCALE.ravel() + 2, rtol=1e-6)
    x = rng.normal(size=(2, 3, 5, 4)).astype("float32")
    np.testing.assert_allclose(run(folded, x), run(Net, x), atol=1e-5)


def test_scale_folds_into_a_matmul_along_its_columns() -> None:
    weight = rng.normal(size=(6, 5)).astype("float32")
    scale = rng.normal(size=5).astype("float32")

    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "m", 6), "float32")):
            with R.dataflow():
                a = R.matmul(x, R.const(weight))
                b = R.multiply(a, R.const(scale))
                R.output(b)
            return b

    folded = fold_affine(Net)
    assert operators(folded) == ["matmul"]
    np.testing.assert_allclose(constants(folded)[0], weight * scale)


def test_a_result_used_twice_keeps_its_weights() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3, "h", "w"), "float32")):
            with R.dataflow():
                a = R.nn.conv2d(x, R.const(WEIGHT))
                b = R.multiply(a, R.const(SCALE))
                c = R.add(a, b)
                R.output(c)
            return c

    assert operators(fold_affine(Net)) == ["conv2d", "multiply", "add"]


def test_a_scale_that_varies_along_rows_is_left_alone() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3, "h", 6), "float32")):
            with R.dataflow():
                a = R.nn.conv2d(x, R.const(WEIGHT))
                b = R.multiply(a, R.const(np.ones((4,), "float32") * 3))
                R.output(b)
            return b

    assert operators(fold_affine(Net)) == ["conv2d", "multiply"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda x: R.power(x, R.const(2.0)), ["multiply"]),
        (lambda x: R.power(x, R.const(0.5)), ["sqrt"]),
        (lambda x: R.power(x, R.const(3.0)), ["power"]),
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


def spelled_out(epsilon: float, axis: int) -> tvm.IRModule:
    gamma, beta = (R.const(rng.normal(size=8).astype("float32")) for _ in range(2))

    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 8, 8), "float32")):
            with R.dataflow():
                mean = R.mean(x, axis=[axis], keepdims=True)
                centred = R.subtract(x, mean)
                variance = R.mean(R.multiply(centred, centred), axis=[axis], keepdims=True)
                deviation = R.sqrt(R.add(variance, R.const(epsilon)))
                y = R.add(R.multiply(R.divide(centred, deviation), gamma), beta)
                R.output(y)
            return y

    return Net


def test_layer_normalisation_is_recognised() -> None:
    mod = spelled_out(1e-5, 2)
    folded = fold_norms(mod)
    relax.analysis.well_formed(folded)
    assert "layer_norm" in operators(folded)
    x = rng.normal(size=(3, 8, 8)).astype("float32")
    np.testing.assert_allclose(run(folded, x), run(mod, x), atol=1e-5)


def test_normalisation_over_another_axis_is_not_layer_normalisation() -> None:
    assert "layer_norm" not in operators(fold_norms(spelled_out(1e-5, 1)))


def test_permutes_that_undo_each_other_are_gone() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "h", "w", 8), "float32")):
            with R.dataflow():
                a = R.permute_dims(x, [0, 3, 1, 2])
                b = R.permute_dims(a, [0, 2, 3, 1])
                c = R.nn.relu(b)
                R.output(c)
            return c

    assert operators(cancel_permutes(Net)) == ["relu"]


def test_a_permute_through_a_merge_of_axes_becomes_a_reshape() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "h", "w", 8), "float32")):
            n, h, w = T.int64(), T.int64(), T.int64()
            with R.dataflow():
                a = R.permute_dims(x, [0, 3, 1, 2])
                b = R.reshape(a, R.shape([n, 8, h * w]))
                c = R.permute_dims(b, [0, 2, 1])
                R.output(c)
            return c

    cancelled = cancel_permutes(Net)
    relax.analysis.well_formed(cancelled)
    assert operators(cancelled) == ["reshape"]
    x = rng.normal(size=(2, 3, 5, 8)).astype("float32")
    np.testing.assert_array_equal(run(cancelled, x), run(Net, x))


def test_a_permute_that_really_moves_data_stays() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "h", "w", 8), "float32")):
            n, h, w = T.int64(), T.int64(), T.int64()
            with R.dataflow():
                a = R.permute_dims(x, [0, 3, 2, 1])
                b = R.reshape(a, R.shape([n, 8, w * h]))
                c = R.permute_dims(b, [0, 2, 1])
                R.output(c)
            return c

    assert operators(cancel_permutes(Net)) == ["permute_dims", "reshape", "permute_dims"]


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


def test_convolutions_run_channels_last_between_two_permutes() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3, "h", "w"), "float32")):
            with R.dataflow():
                a = R.nn.conv2d(x, R.const(WEIGHT), padding=1)
                b = R.nn.relu(R.add(a, R.const(SCALE)))
                c = R.nn.max_pool2d(b, pool_size=[2, 2], strides=[2, 2])
                R.output(c)
            return c

    converted = tvm.transform.Sequential([*layout_passes(), cancel_permutes])(Net)
    relax.analysis.well_formed(converted)
    expected = ["permute_dims", "conv2d", "add", "relu", "max_pool2d", "permute_dims"]
    assert operators(converted) == expected


def stretched(size: str | int) -> tvm.IRModule:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", size), "float32"), y: R.Tensor(("n", "m"), "float32")):
            n, m = T.int64(), T.int64()
            with R.dataflow():
                a = R.take(x, R.arange(0, m, 1), axis=1, mode="clip")
                b = R.nn.relu(a)
                R.output(b)
            return b

    return relax.transform.Normalize()(Net)


def test_a_stretch_of_a_dim_that_fits_is_nothing() -> None:
    assert operators(fold_stretches(stretched("m"))) == ["relu"]


def test_a_stretch_of_a_dim_of_one_is_a_broadcast() -> None:
    folded = fold_stretches(stretched(1))
    relax.analysis.well_formed(folded)
    assert operators(folded) == ["broadcast_to", "relu"]


def test_a_stretch_that_nobody_understands_stays() -> None:
    assert operators(fold_stretches(stretched("k"))) == ["arange", "take", "relu"]
