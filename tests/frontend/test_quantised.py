"""Quantised operators and networks against ONNX Runtime, on integer kernels.

Weights have seven bits: ONNX Runtime's kernels saturate sums of larger ones on CPUs without VNNI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm
from onnx import numpy_helper, parser
from onnxruntime import quantization as ortq

import tvm_sod2
from tvm_sod2.pipeline import phases
from tvm_sod2.schedules.schedule import CHOICE
from tvm_sod2.schedules.traits import host_target

rng = np.random.default_rng(0)
Feeds = dict[str, np.ndarray]


def f32(value: object) -> np.ndarray:
    return np.asarray(value, np.float32)


def integers(low: int, high: int, *shape: int, dtype: str) -> np.ndarray:
    return rng.integers(low, high, shape).astype(dtype)


def model(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    made = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{text}')
    for name, value in weights.items():
        made.graph.initializer.append(numpy_helper.from_array(value, name))
    return made


def products(mod: tvm.IRModule) -> list[str]:
    """The kernels of products, by the names of the operators fused in them."""
    target = host_target()
    with target:
        for phase in phases(target):
            mod = tvm.transform.Sequential(phase.passes)(mod)
            if phase.name == "schedules":
                break
    return [
        str(func.attrs[CHOICE])
        for var, func in mod.functions_items()
        if "conv" in var.name_hint or "matmul" in var.name_hint
    ]


def run_both(proto: onnx.ModelProto, feeds: list[Feeds]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ours and ONNX Runtime's first output for each feed."""
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    mod = tvm_sod2.from_onnx(proto)
    kernels = products(mod)
    assert kernels and all(kernel.startswith("int8 ") for kernel in kernels), kernels
    vm = tvm.relax.VirtualMachine(tvm_sod2.build(mod), tvm.cpu())
    for feed in feeds:
        inputs = [tvm.runtime.tensor(value) for value in feed.values()]
        yield vm["main"](*inputs).numpy(), session.run(None, feed)[0]


POINT = {"uint8": np.array(100, "uint8"), "int8": np.array(-5, "int8")}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_qlinear_conv(dtype: str) -> None:
    # Kernel, inputs, outputs, groups and attributes of one convolution after the other.
    layers = [(3, 3, 20, 1, "strides=[2,2],pads=[1,1,1,1]"), (3, 20, 20, 20, "pads=[1,0,1,2]")]
    layers += [(1, 20, 33, 1, "strides=[1,1]"), (3, 33, 10, 1, "dilations=[2,2],pads=[2,2,2,2]")]
    lines, weights = [], {"z": POINT[dtype], "s0": f32(0.02)}
    for i, (k, inputs, outputs, groups, attributes) in enumerate(layers, 1):
        depth = inputs // groups
        weights |= {
            f"w{i}": integers(-64, 64, outputs, depth, k, k, dtype="int8"),
            f"sw{i}": f32(rng.uniform(0.2, 1, outputs) * 0.03 / np.sqrt(depth * k * k)),
            f"zw{i}": np.zeros(outputs, "int8"),
            f"b{i}": integers(-1000, 1000, outputs, dtype="int32"),
            f"s{i}": f32(0.02 + 0.01 * i),
        }
        lines.append(
            f"x{i} = QLinearConv<{attributes},group={groups}>"
            f"(x{i - 1}, s{i - 1}, z, w{i}, sw{i}, zw{i}, s{i}, z, b{i})"
        )
    graph = f"g ({dtype}[n,3,h,w] x0) => ({dtype}[n,10,p,q] x4) {{ {chr(10).join(lines)} }}"
    limits = np.iinfo(dtype)
    feeds = [
        {"x0": integers(limits.min, limits.max + 1, n, 3, h, w, dtype=dtype)}
        for n, h, w in ((1, 5, 5), (2, 17, 13), (1, 31, 64))
    ]
    for ours, theirs in run_both(model(graph, **weights), feeds):
        np.testing.assert_array_equal(ours, theirs)


def test_qlinear_matmul() -> None:
    graph = """g (uint8[b,m,70] x) => (uint8[b,m,33] y) {
        y = QLinearMatMul(x, sx, z, w, sw, zw, sy, z)
    }"""
    weights = {
        "sx": f32(0.02),
        "z": POINT["uint8"],
        "w": integers(-64, 64, 70, 33, dtype="int8"),
        "sw": f32(rng.uniform(0.001, 0.01, 33)),
        "zw": np.zeros(33, "int8"),
        "sy": f32(0.07),
    }
    feeds = [{"x": integers(0, 256, b, m, 70, dtype="uint8")} for b, m in ((1, 1), (2, 7), (3, 13))]
    for ours, theirs in run_both(model(graph, **weights), feeds):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("zero", [np.array(64, "uint8"), integers(40, 80, 33, dtype="uint8")])
def test_matmul_integer_with_run_time_zero_point(zero: np.ndarray) -> None:
    graph = "g (uint8[m,70] x, uint8 z) => (int32[m,33] y) { y = MatMulInteger(x, w, z, zw) }"
    weight = integers(0, 128, 70, 33, dtype="uint8")
    feeds = [
        {"x": integers(0, 256, m, 70, dtype="uint8"), "z": np.array(m, "uint8")}
        for m in (0, 1, 12, 13)
    ]
    for ours, theirs in run_both(model(graph, w=weight, zw=zero), feeds):
        np.testing.assert_array_equal(ours, theirs)


def test_conv_integer() -> None:
    graph = """g (uint8[n,5,h,w] x, uint8 z) => (int32[n,9,h,w] y) {
        y = ConvInteger<pads=[1,1,1,1]>(x, k, z, zk)
    }"""
    weight, point = integers(0, 128, 9, 5, 3, 3, dtype="uint8"), np.array(64, "uint8")
    feeds = [
        {"x": integers(0, 256, n, 5, h, w, dtype="uint8"), "z": np.array(31, "uint8")}
        for n, h, w in ((1, 1, 1), (2, 7, 5), (1, 3, 40))
    ]
    for ours, theirs in run_both(model(graph, k=weight, zk=point), feeds):
        np.testing.assert_array_equal(ours, theirs)


def _convolutional() -> onnx.ModelProto:
    def weight(*shape: int) -> np.ndarray:
        return f32(rng.normal(size=shape) / np.sqrt(np.prod(shape[1:])))

    return model(
        """g (float[n,3,h,w] x) => (float[n,10] y) {
            a = Conv<strides=[2,2],pads=[1,1,1,1]>(x, k1, b1)
            b = Relu(a)
            c = Conv<pads=[1,1,1,1],group=16>(b, k2)
            d = Relu(c)
            e = Conv(d, k3, b3)
            f = Conv<pads=[1,1,1,1]>(e, k4)
            g = Add(e, f)
            i = GlobalAveragePool(g)
            j = Flatten(i)
            y = Gemm<transB=1>(j, w, v)
        }""",
        k1=weight(16, 3, 3, 3),
        b1=weight(16, 1)[:, 0],
        k2=weight(16, 1, 3, 3),
        k3=weight(24, 16, 1, 1),
        b3=weight(24, 1)[:, 0],
        k4=weight(24, 24, 3, 3),
        w=weight(10, 24),
        v=weight(10, 1)[:, 0],
    )


def _perceptron() -> onnx.ModelProto:
    return model(
        """g (float[n,h,48] x) => (float[n,h,48] y) {
            a = MatMul(x, w1)
            b = Add(a, b1)
            c = Relu(b)
            d = MatMul(c, w2)
            e = Add(d, b2)
            y = Add(e, x)
        }""",
        w1=f32(rng.normal(size=(48, 96)) * 0.1),
        b1=f32(rng.normal(size=96) * 0.1),
        w2=f32(rng.normal(size=(96, 48)) * 0.1),
        b2=f32(rng.normal(size=48) * 0.1),
    )


NETWORKS: dict[str, tuple[Callable[[], onnx.ModelProto], list[tuple[int, ...]]]] = {
    "convolutional": (_convolutional, [(1, 3, 8, 8), (2, 3, 13, 17), (1, 3, 33, 40)]),
    "perceptron": (_perceptron, [(1, 1, 48), (2, 7, 48), (3, 30, 48)]),
}


class _Reader(ortq.CalibrationDataReader):
    def __init__(self, shapes: list[tuple[int, ...]]) -> None:
        self.feeds = iter([{"x": f32(rng.normal(size=shape))} for shape in shapes * 2])

    def get_next(self) -> Feeds | None:
        return next(self.feeds, None)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("activations", "per_channel"), [("QUInt8", False), ("QUInt8", True), ("QInt8", True)]
)
def test_static_quantisation(
    tmp_path: Path, network: str, activations: str, per_channel: bool
) -> None:
    """DequantizeLinear before and QuantizeLinear behind operators, as quantize_static writes."""
    make, shapes = NETWORKS[network]
    onnx.save(make(), tmp_path / "float.onnx")
    ortq.quantize_static(
        str(tmp_path / "float.onnx"),
        str(tmp_path / "bytes.onnx"),
        _Reader(shapes),
        quant_format=ortq.QuantFormat.QDQ,
        per_channel=per_channel,
        reduce_range=True,
        activation_type=ortq.QuantType[activations],
        weight_type=ortq.QuantType.QInt8,
    )
    quantised = onnx.load(tmp_path / "bytes.onnx")
    feeds = [{"x": f32(rng.normal(size=shape))} for shape in shapes]
    step = _last_step(quantised)
    for ours, theirs in run_both(quantised, feeds):
        # One factor in their place of our two may round a half to the other side.
        assert np.abs(ours - theirs).max() <= step * 1.01
        assert (np.abs(ours - theirs) > step * 0.01).mean() < 0.02


def _last_step(quantised: onnx.ModelProto) -> float:
    values = {t.name: numpy_helper.to_array(t) for t in quantised.graph.initializer}
    (last,) = (n for n in quantised.graph.node if n.output[0] == quantised.graph.output[0].name)
    assert last.op_type == "DequantizeLinear"
    return float(values[last.input[1]])


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("weights", ["QUInt8", "QInt8"])
def test_dynamic_quantisation(tmp_path: Path, network: str, weights: str) -> None:
    """DynamicQuantizeLinear before MatMulInteger and ConvInteger, as quantize_dynamic writes."""
    make, shapes = NETWORKS[network]
    onnx.save(make(), tmp_path / "float.onnx")
    ortq.quantize_dynamic(
        str(tmp_path / "float.onnx"),
        str(tmp_path / "bytes.onnx"),
        weight_type=ortq.QuantType[weights],
        reduce_range=True,
    )
    feeds = [{"x": f32(rng.normal(size=shape))} for shape in shapes]
    for ours, theirs in run_both(onnx.load(tmp_path / "bytes.onnx"), feeds):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [f32(0.02), f32(rng.uniform(0.01, 0.02, 33))])
def test_weights_quantised_in_the_graph(scale: np.ndarray) -> None:
    """Weights and a scalar that come as floats with QuantizeLinear behind them."""
    graph = """g (uint8[m,70] x) => (uint8[m,33] y) {
        a = DequantizeLinear(x, sx, z)
        q = QuantizeLinear<axis=1>(w, sw, zw)
        b = DequantizeLinear<axis=1>(q, sw, zw)
        c = MatMul(a, b)
        r = QuantizeLinear(half, sx, z)
        s = DequantizeLinear(r, sx, z)
        d = Mul(c, s)
        y = QuantizeLinear(d, sy, z)
    }"""
    weights = {
        "w": f32(rng.uniform(-1, 1, (70, 33))),
        "sw": scale,
        "zw": np.zeros(scale.shape, "int8"),
        "half": f32(0.5),
        "sx": f32(0.02),
        "sy": f32(0.07),
        "z": POINT["uint8"],
    }
    feeds = [{"x": integers(0, 256, m, 70, dtype="uint8")} for m in (1, 13)]
    for ours, theirs in run_both(model(graph, **weights), feeds):
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1
