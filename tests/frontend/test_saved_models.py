"""Models that ONNX Runtime optimised and saved, against the models they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm
from peer import parsed
from tvm import relax

import tvm_sod2

BYTES = "int8[8,8] w = {%s}" % ",".join(str(i * 7 % 23 - 11) for i in range(64))  # noqa: UP031
QUANTISED = f"float s = {{0.02}}, uint8 z = {{128}}, float t = {{0.01}}, int8 u = {{0}}, {BYTES}"
BIAS = "float[8] b = {1, 2, 3, 4, 5, 6, 7, 8}"

# What the saved model has to hold, and the graph that it is made from.
GRAPHS = {
    "BiasGelu": (
        f"<{BIAS}, float h = {{0.5}}, float o = {{1.0}}, float r = {{1.41421356}}>"
        "{ p = Add(x, b) q = Div(p, r) e = Erf(q) f = Add(e, o) g = Mul(p, f) y = Mul(g, h) }"
    ),
    "SkipLayerNormalization": (
        f"<{BIAS}, int64[1] o = {{0}}> {{ p = Unsqueeze(x, o) t = Mul(p, p) q = Add(p, t)"
        " r = LayerNormalization(q, b, b) y = Squeeze(r, o) }"
    ),
    "SimplifiedLayerNormalization": (
        f"<{BIAS}, float e = {{0.01}}, float two = {{2.0}}> {{ p = Pow(x, two)"
        " q = ReduceMean<axes=[-1]>(p) r = Add(q, e) s = Sqrt(r) t = Div(x, s) y = Mul(t, b) }"
    ),
    "LayerNormalization": (
        f"<{BIAS}, float e = {{0.01}}, float two = {{2.0}}> {{ m = ReduceMean<axes=[-1]>(x)"
        " d = Sub(x, m) p = Pow(d, two) q = ReduceMean<axes=[-1]>(p) r = Add(q, e) s = Sqrt(r)"
        " t = Div(d, s) u = Mul(t, b) y = Add(u, b) }"
    ),
    "FusedMatMul": (
        "<float k = {0.3}> { t = Transpose<perm=[1, 0]>(x) p = MatMul(x, t) q = Mul(p, k)"
        " y = MatMul(q, x) }"
    ),
    "FusedGemm": f"<{BYTES}, {BIAS}> {{ v = Cast<to=1>(w) p = Gemm(x, v, b) y = Relu(p) }}",
    "QLinearAdd": (
        f"<{QUANTISED}> {{ p = QuantizeLinear(x, s, z) q = DequantizeLinear(p, s, z)"
        " r = Add(q, q) c = QuantizeLinear(r, s, z) y = DequantizeLinear(c, s, z) }"
    ),
    "MatMulIntegerToFloat": (
        f"<{QUANTISED}> {{ p = QuantizeLinear(x, s, z) q = DequantizeLinear(p, s, z)"
        " v = DequantizeLinear(w, t, u) y = MatMul(q, v) }"
    ),
    "DynamicQuantizeMatMul": (
        f"<{QUANTISED}> {{ p, i, j = DynamicQuantizeLinear(x) c = MatMulInteger(p, w, j, u)"
        " f = Cast<to=1>(c) g = Mul(i, t) y = Mul(f, g) }"
    ),
}

# Before the operator itself came: ONNX Runtime writes it all the same.
_OPSETS = {"LayerNormalization": 12, "SimplifiedLayerNormalization": 12}


@pytest.mark.parametrize("operator", GRAPHS)
def test_saved_models(operator: str, tmp_path: Path) -> None:
    model = parsed(
        f"(float[n,8] x) => (float[n,8] y) {GRAPHS[operator]}", _OPSETS.get(operator, 18)
    )
    path = tmp_path / "saved.onnx"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    assert operator in {node.op_type for node in onnx.load(path).graph.node}
    run = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(path)), tvm.cpu())["main"]
    for n in (1, 3, 17):
        x = np.random.default_rng(n).uniform(-1, 1, (n, 8)).astype("float32")
        wanted = session.run(None, {"x": x})[0]
        # A byte may round to either side of a half.
        step = 0.0201 if "QLinear" in operator else 1e-4
        np.testing.assert_allclose(run(tvm.runtime.tensor(x)).numpy(), wanted, 1e-4, step)
