"""One-dimensional convolutions run as two-dimensional ones, with what follows them."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import tvm
import tvm_ffi
from onnx import TensorProto, helper, numpy_helper
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

import tvm_sod2
from tests.passes.rewriting import operators, rng, run
from tvm_sod2.passes.widen_conv1d import widen_conv1d

FIRST = rng.normal(size=(6, 3, 3)).astype("float32")
SECOND = rng.normal(size=(4, 2, 5)).astype("float32")
SHIFT = rng.normal(size=(1, 6, 1)).astype("float32")


def test_no_reshape_stands_between_convolutions() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3, "l"), "float32")):
            with R.dataflow():
                a = R.nn.conv1d(x, R.const(FIRST), strides=[2], padding=[1, 0])
                b = R.nn.relu(R.add(a, R.const(SHIFT)))
                c = R.strided_slice(b, [1], [1], [3])
                d = R.nn.conv1d(c, R.const(SECOND), dilation=[2], padding=[4, 4])
                R.output(d)
            return d

    widened = widen_conv1d(Net)
    relax.analysis.well_formed(widened)
    expected = ["reshape", "conv2d", "add", "relu", "strided_slice", "conv2d", "reshape"]
    assert operators(widened) == expected
    for length in (11, 24):
        x = rng.normal(size=(2, 3, length)).astype("float32")
        np.testing.assert_allclose(run(widened, x), run(Net, x), rtol=1e-5, atol=1e-5)


def test_transposed_ones_are_widened_too() -> None:
    kernel = rng.normal(size=(3, 2, 4)).astype("float32")

    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3, "l"), "float32")):
            with R.dataflow():
                a = R.nn.conv1d_transpose(
                    x, R.const(kernel), strides=[3], padding=[1, 2], output_padding=[1]
                )
                b = R.nn.relu(a)
                R.output(b)
            return b

    widened = widen_conv1d(Net)
    relax.analysis.well_formed(widened)
    assert operators(widened) == ["reshape", "conv2d_transpose", "relu", "reshape"]
    for length in (1, 8):
        x = rng.normal(size=(2, 3, length)).astype("float32")
        np.testing.assert_allclose(run(widened, x), run(Net, x), rtol=1e-5, atol=1e-5)


def test_rows_meet_what_is_no_image() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3, 9), "float32"), y: R.Tensor((6, 7), "float32")):
            with R.dataflow():
                a = R.nn.conv1d(x, R.const(FIRST))
                b = R.multiply(y, a)
                c = R.nn.softmax(b, axis=1)
                R.output(c)
            return c

    widened = widen_conv1d(Net)
    relax.analysis.well_formed(widened)
    names = operators(widened)
    assert sorted(names[:4]) == ["conv2d", "multiply", "reshape", "reshape"]
    assert names[4:] == ["reshape", "softmax"]
    x, y = rng.normal(size=(2, 3, 9)).astype("float32"), rng.normal(size=(6, 7)).astype("float32")
    np.testing.assert_allclose(run(widened, x, y), run(Net, x, y), rtol=1e-5, atol=1e-5)


def test_another_layout_stays() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "l", 3), "float32"), w: R.Tensor((6, 3, 3), "float32")):
            with R.dataflow():
                a = R.nn.conv1d(x, w, data_layout="NWC")
                R.output(a)
            return a

    assert tvm_ffi.structural_equal(widen_conv1d(Net), Net)


@pytest.mark.parametrize("groups", [1, 3])
def test_convolutions_of_short_and_long_rows(groups: int) -> None:
    """The whole pipeline against ONNX Runtime, also at a batch of none and rows of one."""
    w1 = rng.normal(size=(33, 6 // groups, 3)).astype("float32")
    w2 = rng.normal(size=(5, 33, 4)).astype("float32")
    bias = rng.normal(size=33).astype("float32")
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b"], ["a"], pads=[1, 1], group=groups),
        helper.make_node("Tanh", ["a"], ["t"]),
        helper.make_node("Conv", ["t", "w2"], ["y"], strides=[2], pads=[3, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "rows",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6, "l"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in {"w1": w1, "w2": w2, "b": bias}.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    main = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(model)), tvm.cpu())["main"]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for n, length in ((1, 1), (2, 13), (3, 50), (1, 400)):
        x = rng.normal(size=(n, 6, length)).astype("float32")
        found = main(tvm.runtime.tensor(x)).numpy()
        np.testing.assert_allclose(found, session.run(None, {"x": x})[0], rtol=1e-4, atol=1e-4)
    nothing = main(tvm.runtime.tensor(np.zeros((0, 6, 13), "float32"))).numpy()
    assert nothing.shape == (0, 5, 8)
