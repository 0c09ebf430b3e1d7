"""Products with weights of a few bits, and what quantising tools write, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from peer import check, parsed

import tvm_sod2
from tvm_sod2.errors import ImportModelError


def _product(bits: int, zeros: bool, columns: int = 40) -> onnx.ModelProto:
    """x [n, m, columns] times 12 rows of weights in blocks of 16; the last block is padded."""
    rng = np.random.default_rng(bits)
    blocks = -(-columns // 16)
    weights = {
        "w": rng.integers(0, 256, (12, blocks, 2 * bits), "uint8"),
        "s": rng.uniform(0.01, 0.1, (12, blocks)).astype("float32"),
    }
    if zeros:
        weights["z"] = rng.integers(0, 256, (12, -(-blocks * bits // 8)), "uint8")
    weights["b"] = rng.uniform(-1, 1, 12).astype("float32")
    node = helper.make_node(
        "MatMulNBits",
        ["x", "w", "s", "z" if zeros else "", "", "b"],
        ["y"],
        domain="com.microsoft",
        K=columns,
        N=12,
        bits=bits,
        block_size=16,
    )
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "m", columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "m", 12])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


@pytest.mark.parametrize(
    ("bits", "zeros"), [(2, True), (2, False), (4, True), (4, False), (8, True)]
)
def test_weights_of_few_bits(bits: int, zeros: bool) -> None:
    feeds = [
        {"x": np.random.default_rng(m).normal(size=(2, m, 40)).astype("float32")} for m in (1, 5)
    ]
    check(_product(bits, zeros), feeds, 1e-4, 1e-3)


def test_other_widths_are_refused() -> None:
    model = _product(4, False)
    next(a for a in model.graph.node[0].attribute if a.name == "bits").i = 3
    with pytest.raises(ImportModelError, match="3 bits"):
        tvm_sod2.from_onnx(model)


@pytest.mark.parametrize("width", ["uint8", "uint16", "int16"])
def test_quantisation_before_its_operator_set(width: str) -> None:
    model = parsed(
        f"(float[n,3] x, float[3] s, {width}[3] z) => ({width}[n,3] y, float[n,3] w) {{"
        " y = com.microsoft.QuantizeLinear<axis = 1>(x, s, z)"
        " w = com.microsoft.DequantizeLinear<axis = 1>(y, s, z) }"
    )
    feeds = []
    for n in (0, 1, 7):
        rng = np.random.default_rng(n)
        scale = np.array([0.01, 0.5, 2.0], "float32")
        zero = np.array([0, 3, 100]).astype(width)
        feeds.append({"x": rng.normal(size=(n, 3)).astype("float32") * 50, "s": scale, "z": zero})
    check(model, feeds, 0, 0)


def test_attention_of_bytes() -> None:
    model = parsed(
        "(uint8[n,s,8] x, int8[8,24] w, float[24] b, float p, float q, int32[n,t] m, uint8 y,"
        " int8 z, float[2,n,2,r,4] c) => (float[n,s,8] o, float[2,n,2,u,4] d) {"
        " o, d = com.microsoft.QAttention<num_heads = 2, unidirectional = 1>"
        "(x, w, b, p, q, m, y, z, c) }"
    )
    feeds = []
    for length, past in ((1, 3), (5, 0), (3, 4)):
        rng = np.random.default_rng(length)
        feeds.append(
            {
                "x": rng.integers(0, 256, (2, length, 8), "uint8"),
                "w": rng.integers(-128, 128, (8, 24), "int8"),
                "b": rng.normal(size=24).astype("float32"),
                "p": np.array(0.02, "float32"),
                "q": np.array(0.01, "float32"),
                "m": rng.integers(0, 2, (2, length + past), "int32"),
                "y": np.array(120, "uint8"),
                "z": np.array(3, "int8"),
                "c": rng.normal(size=(2, 2, 2, past, 4)).astype("float32"),
            }
        )
    check(model, feeds, 1e-3, 1e-4)
