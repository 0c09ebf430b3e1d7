"""Three-dimensional convolutions run over planes, with what follows them."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

import tvm_sod2
from tests.passes.rewriting import operators, rng, run
from tvm_sod2.passes.flatten_conv3d import flatten_conv3d

FIRST = rng.normal(size=(6, 3, 3, 2, 3)).astype("float32")
SECOND = rng.normal(size=(4, 6, 1, 3, 3)).astype("float32")
POINT = rng.normal(size=(8, 6, 1, 1, 1)).astype("float32")
SHIFT = rng.normal(size=(1, 6, 1, 1, 1)).astype("float32")
SPACE = rng.normal(size=(5, 6)).astype("float32")
DEPTH = rng.normal(size=(7, 1, 1)).astype("float32")


def test_nothing_stands_between_a_convolution_and_what_follows() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3, "d", 6, 6), "float32")):
            with R.dataflow():
                a = R.nn.conv3d(x, R.const(FIRST), padding=[1, 0, 1, 1, 0, 1])
                b = R.nn.relu(R.add(R.add(a, R.const(SHIFT)), R.const(SPACE)))
                c = R.nn.conv3d(b, R.const(SECOND), strides=[1, 2, 2])
                R.output(c)
            return c

    flat = flatten_conv3d(Net)
    relax.analysis.well_formed(flat)
    names = operators(flat)
    first, second = (i for i, name in enumerate(names) if name == "conv2d")
    moves = {"permute_dims", "reshape"}
    assert [name for name in names[first:second] if name not in moves] == [
        "conv2d", "add", "add", "relu"
    ]  # fmt: skip
    assert names.count("call_tir") == 1  # the second kernel has one plane: nothing is gathered
    for batch, depth in ((2, 5), (1, 1)):
        x = rng.normal(size=(batch, 3, depth, 6, 6)).astype("float32")
        np.testing.assert_allclose(run(flat, x), run(Net, x), rtol=1e-4, atol=1e-4)


def test_what_differs_between_planes_keeps_its_volume() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3, 7, 5, 4), "float32")):
            with R.dataflow():
                a = R.nn.conv3d(x, R.const(FIRST), padding=[1, 0, 1, 1, 1, 1])
                b = R.add(a, R.const(DEPTH))
                R.output(b)
            return b

    flat = flatten_conv3d(Net)
    relax.analysis.well_formed(flat)
    assert operators(flat)[-2:] == ["permute_dims", "add"]
    x = rng.normal(size=(2, 3, 7, 5, 4)).astype("float32")
    np.testing.assert_allclose(run(flat, x), run(Net, x), rtol=1e-4, atol=1e-4)


def test_weights_of_run_time_stay() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor((1, 3, 7, 5, 4), "float32"), w: R.Tensor((2, 3, 3, 3, 3), "float32")):
            with R.dataflow():
                a = R.nn.conv3d(x, w)
                R.output(a)
            return a

    assert operators(flatten_conv3d(Net)) == ["conv3d"]


# Input channels, weights, and what a node says; all of them on volumes of SIZES.
NODES = {
    "same": (5, (7, 5, 3, 3, 3), {"pads": [1] * 6}),
    "winograd": (16, (20, 16, 3, 3, 3), {"pads": [1] * 6}),
    "strided": (3, (4, 3, 3, 2, 5), {"strides": [2, 1, 3], "pads": [1, 0, 2, 0, 1, 2]}),
    "dilated": (4, (6, 4, 2, 3, 2), {"dilations": [3, 2, 1], "pads": [2, 2, 0, 1, 2, 1]}),
    "deep padding": (2, (3, 2, 2, 1, 1), {"pads": [3, 0, 0, 4, 0, 0], "strides": [3, 1, 1]}),
    "grouped": (6, (4, 3, 2, 3, 3), {"group": 2, "pads": [1] * 6}),
    "depthwise": (6, (6, 1, 3, 3, 3), {"group": 6, "pads": [1] * 6}),
    "depthwise twice": (3, (6, 1, 2, 3, 2), {"group": 3, "strides": [2, 1, 1]}),
    "pointwise": (9, (5, 9, 1, 1, 1), {}),
    "single": (1, (3, 1, 3, 3, 3), {"pads": [1] * 6}),
}
SIZES = ((1, 4, 5, 6), (2, 7, 3, 5), (1, 13, 11, 9))


@pytest.mark.parametrize("name", NODES)
def test_as_onnx_runtime(name: str) -> None:
    channels, shape, attributes = NODES[name]
    weight = rng.normal(size=shape).astype("float32")
    bias = rng.normal(size=shape[:1]).astype("float32")
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], **attributes),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, "d", "h", "w"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 5)
    constants = [numpy_helper.from_array(a, n) for n, a in (("w", weight), ("b", bias))]
    graph = helper.make_graph(nodes, "volumes", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    main = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(model)), tvm.cpu())["main"]
    for batch, *size in SIZES:
        data = rng.normal(size=(batch, channels, *size)).astype("float32")
        expected = session.run(None, {"x": data})[0]
        found = main(tvm.runtime.tensor(data)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_channels_alone_are_a_product() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 6, "d", "h", 5), "float32")):
            with R.dataflow():
                a = R.nn.relu(R.nn.conv3d(x, R.const(POINT)))
                R.output(a)
            return a

    flat = flatten_conv3d(Net)
    relax.analysis.well_formed(flat)
    assert [name for name in operators(flat) if name != "reshape"] == ["matmul", "relu"]
    for batch, depth, height in ((2, 5, 3), (1, 1, 1), (3, 2, 7)):
        x = rng.normal(size=(batch, 6, depth, height, 5)).astype("float32")
        np.testing.assert_allclose(run(flat, x), run(Net, x), rtol=1e-4, atol=1e-4)


def test_channels_of_planes_stay_a_convolution() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3, "d", 6, 6), "float32")):
            with R.dataflow():
                a = R.nn.conv3d(x, R.const(FIRST))
                b = R.nn.conv3d(a, R.const(POINT))
                c = R.nn.conv3d(x, R.const(POINT[:, :3]), strides=[1, 2, 1])
                R.output(b, c)
            return (b, c)

    names = operators(flatten_conv3d(Net))
    assert names.count("conv2d") == 3
    assert "matmul" not in names
