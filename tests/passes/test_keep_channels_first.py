"""First layers between two changes of layout keep their images channels first; others do not."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

from tests.passes.rewriting import operators, rng, run
from tvm_sod2.passes.keep_channels_first import keep_channels_first

WEIGHT = rng.normal(size=(64, 3, 3, 2)).astype("float32")
ONE = rng.normal(size=(64, 1, 5, 1)).astype("float32")
SHIFT = rng.normal(size=(1, 1, 1, 64)).astype("float32")
GATE = rng.normal(size=(64,)).astype("float32")


def test_what_follows_elementwise_comes_along() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 2, "h", "w"), "float32")):
            with R.dataflow():
                a = R.permute_dims(x, [0, 2, 3, 1])
                b = R.nn.conv2d(
                    a,
                    R.const(WEIGHT),
                    strides=[2, 2],
                    padding=[1, 1, 1, 1],
                    data_layout="NHWC",
                    kernel_layout="OHWI",
                )
                c = R.multiply(R.const(GATE), R.nn.relu(R.add(b, R.const(SHIFT))))
                d = R.permute_dims(c, [0, 3, 1, 2])
                R.output(d)
            return d

    kept = keep_channels_first(Net)
    relax.analysis.well_formed(kept)
    assert operators(kept) == ["conv2d", "add", "relu", "multiply"]
    assert kept["main"].ret_ty.shape.values[1] == 64
    x = rng.normal(size=(2, 2, 7, 9)).astype("float32")
    np.testing.assert_allclose(run(kept, x), run(Net, x), rtol=1e-4, atol=1e-4)


def test_one_channel_needs_no_change_of_layout() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 1, "w", 1), "float32")):
            with R.dataflow():
                b = R.nn.conv2d(x, R.const(ONE), data_layout="NHWC", kernel_layout="OHWI")
                d = R.permute_dims(b, [0, 3, 1, 2])
                R.output(d)
            return d

    kept = keep_channels_first(Net)
    relax.analysis.well_formed(kept)
    assert operators(kept) == ["reshape", "conv2d"]
    x = rng.normal(size=(2, 1, 19, 1)).astype("float32")
    np.testing.assert_allclose(run(kept, x), run(Net, x), rtol=1e-4, atol=1e-4)


def _net(
    kernel: tuple[int, ...],
    *,
    stride: int = 1,
    width: int | None = None,
    groups: int = 1,
    again: bool = False,
    beside: bool = False,
) -> tvm.IRModule:
    """A convolution between two changes of layout; read `again`, or added to what has no image."""
    bb = relax.BlockBuilder()
    n, h, w = (tvm.tirx.Var(name, "int64") for name in "nhw")
    x = relax.Var("x", relax.TensorType([n, kernel[3] * groups, h, width or w], "float32"))
    weight = relax.const(rng.normal(size=kernel).astype("float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            a = bb.emit(relax.op.permute_dims(x, [0, 2, 3, 1]))
            b = bb.emit(
                relax.op.nn.conv2d(
                    a,
                    weight,
                    strides=stride,
                    groups=groups,
                    data_layout="NHWC",
                    kernel_layout="OHWI",
                )
            )
            c = bb.emit(relax.op.add(b, b) if again else relax.op.nn.relu(b))
            if beside:
                c = bb.emit(relax.op.multiply(c, bb.emit(relax.op.sum(a, axis=3, keepdims=True))))
            out = bb.emit_output(relax.op.permute_dims(c, [0, 3, 1, 2]))
        bb.emit_func_output(out)
    return bb.get()


@pytest.mark.parametrize(
    "net",
    [_net((3, 3, 3, 3)), _net((64, 3, 3, 3), stride=4), _net((4, 5, 5, 1), groups=2)],
    ids=["few", "strided", "grouped"],
)
def test_a_first_layer_is_kept(net: tvm.IRModule) -> None:
    kept = keep_channels_first(net)
    assert operators(kept) == ["conv2d", "relu"]
    x = rng.normal(size=(2, int(net["main"].params[0].ty.shape.values[1]), 8, 21))
    np.testing.assert_allclose(
        run(kept, x.astype("float32")), run(net, x.astype("float32")), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    "net",
    [
        _net((64, 3, 3, 16)),  # many channels go in
        _net((64, 3, 3, 3), stride=6),  # few come out for each pixel of the stride
        _net((64, 9, 10, 3)),  # long sums
        _net((64, 3, 1, 3), width=1),  # nothing beside each other
        _net((64, 3, 3, 1), groups=8),
        _net((2, 3, 3, 1), groups=2),  # a narrow filter for each channel
        _net((64, 1, 1, 3), beside=True),  # another operand is no constant
    ],
    ids=["deep", "strided", "long", "upright", "grouped", "narrow", "gated"],
)
def test_others_change_their_layout(net: tvm.IRModule) -> None:
    tvm.ir.assert_structural_equal(keep_channels_first(net), net)
