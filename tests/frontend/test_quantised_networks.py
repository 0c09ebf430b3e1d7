"""Networks as onnxruntime.quantization writes them, whole: integer kernels, and right by a step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, load, numpy_helper, parser, save
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from tvm import relax, runtime

import tvm_sod2

rng = np.random.default_rng(0)

# A convolution, a depthwise one, a residual block, joined branches, pooling and a classifier.
NETWORK = """<ir_version: 8, opset_import: ["" : 17]>
g (float[n,3,h,w] x) => (float[n,10] y) {
    a = Conv<strides=[2,2],pads=[1,1,1,1]>(x, w0, b0)
    b = Relu(a)
    c = Conv<pads=[1,1,1,1],group=16>(b, w1, b1)
    d = Relu(c)
    e = Conv(d, w2, b2)
    f = Add(b, e)
    i = MaxPool<kernel_shape=[2,2],strides=[2,2]>(f)
    j = Conv(i, w3, b3)
    k = Sigmoid(j)
    l = Concat<axis=1>(i, k)
    m = GlobalAveragePool(l)
    o = Flatten(m)
    y = Gemm<transB=1>(o, w4, b4)
}"""
SHAPES = {"w0": (16, 3, 3, 3), "w1": (16, 1, 3, 3), "w2": (16, 16, 1, 1), "w3": (8, 16, 1, 1)}
SHAPES |= {"w4": (10, 24), "b0": (16,), "b1": (16,), "b2": (16,), "b3": (8,), "b4": (10,)}

STATIC = {
    "qdq": {"quant_format": QuantFormat.QDQ},
    "qdq_channels": {"quant_format": QuantFormat.QDQ, "per_channel": True},
    "qdq_signed": {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QInt8},
    "qoperator": {"quant_format": QuantFormat.QOperator},
    "qoperator_channels": {"quant_format": QuantFormat.QOperator, "per_channel": True},
}


class _Images(CalibrationDataReader):
    def __init__(self) -> None:
        self.left: Iterator[dict[str, np.ndarray]] = ({"x": image(2, 16, 12)} for _ in range(3))

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)


def image(n: int, h: int, w: int) -> np.ndarray:
    return rng.uniform(-1, 1, (n, 3, h, w)).astype(np.float32)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = parser.parse_model(NETWORK)
    for name, shape in SHAPES.items():
        value = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    path = tmp_path_factory.mktemp("quantised") / "network.onnx"
    save(model, path)
    return path


def check(model: ModelProto, allowed: float) -> None:
    """The network against ONNX Runtime's node by node; no product is left in floats."""
    executable = tvm_sod2.build(tvm_sod2.from_onnx(model))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    vm = relax.VirtualMachine(executable, runtime.device("cpu"))
    kinds = {note["kind"] for note in json.loads(str(vm["sod2_kernels"]())).values()}
    assert kinds >= {"integer_conv2d", "integer_matmul"}
    assert kinds.isdisjoint({"conv2d", "matmul"})
    for n, h, w in ((1, 16, 16), (3, 9, 31), (2, 33, 7)):
        x = image(n, h, w)
        (expected,) = session.run(None, {"x": x})
        np.testing.assert_allclose(vm["main"](runtime.tensor(x)).numpy(), expected, atol=allowed)


@pytest.mark.parametrize("kind", STATIC)
def test_static(network: Path, kind: str) -> None:
    path = network.with_name(f"{kind}.onnx")
    quantize_static(network, path, _Images(), **STATIC[kind])
    model = load(path)
    (step,) = (numpy_helper.to_array(i) for i in model.graph.initializer if i.name == "y_scale")
    check(model, 1.01 * float(step))


def test_dynamic(network: Path) -> None:
    path = network.with_name("dynamic.onnx")
    quantize_dynamic(network, path)
    check(load(path), 1e-5)
