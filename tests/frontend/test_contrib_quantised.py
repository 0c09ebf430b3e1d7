"""Quantised operators of com.microsoft against ONNX Runtime, at several shapes each."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper
from peer import check, parsed

Rng = np.random.Generator
Feed = dict[str, np.ndarray]

HEAD = "(uint8[n,m] a, uint8[n,m] b) => (uint8[n,k] y)"
NUMBERS = "<float p = {0.05}, uint8 z = {120}, float q = {0.03}, uint8 w = {7}>"
IMAGE = "(uint8[n,3,h,v] a, uint8[u,m] b) => (uint8[n,3,k,l] y)"


def _bytes(rng: Rng, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, "uint8")


@pytest.mark.parametrize(
    "call",
    [
        "QLinearAdd(a, p, z, b, q, w, q, z)",
        "QLinearMul(a, p, z, b, q, w, q, z)",
        "QLinearConcat<axis=1>(q, z, a, p, z, b, q, w)",
        "QLinearSigmoid(a, p, z, q, w)",
        "QLinearLeakyRelu<alpha=0.2>(a, p, z, q, w)",
        "QLinearSoftmax<axis=-1, opset=13>(a, p, z, q, w)",
        "QLinearAveragePool<kernel_shape=[2,3], pads=[0,1,0,1]>(a, p, z, q, w)",
        "QLinearGlobalAveragePool(a, p, z, q, w)",
    ],
    ids=lambda call: call.split("(")[0].split("<")[0],
)
def test_elementwise_and_pools(call: str) -> None:
    pools = "Pool" in call
    model = parsed(f"{IMAGE if pools else HEAD} {NUMBERS} {{ y = com.microsoft.{call} }}")
    feeds = []
    for n in (1, 3, 17):
        rng = np.random.default_rng(n)
        shape = (1, 3, n + 3, 5) if pools else (n, 5)
        feeds.append({"a": _bytes(rng, *shape), "b": _bytes(rng, n, 5)})
    # Halves fall to either side: ONNX Runtime looks these up or multiplies in another order.
    check(model, feeds, 0, 1)


def test_where() -> None:
    model = parsed(
        f"(bool[n,m] c, uint8[n,m] a, uint8[n,m] b) => (uint8[n,m] y) {NUMBERS}"
        "{ y = com.microsoft.QLinearWhere(c, a, p, z, b, q, w, q, z) }"
    )
    feeds = []
    for n in (1, 6):
        rng = np.random.default_rng(n)
        feeds.append(
            {"c": rng.random((n, 5)) > 0.5, "a": _bytes(rng, n, 5), "b": _bytes(rng, n, 5)}
        )
    check(model, feeds, 0, 1)


GEMM = (
    "(uint8[n,5] a, int8[{b}] b, int32[7] c) => ({y}[n,7] y)"
    " <float p = {{0.05}}, uint8 z = {{120}}, float q = {{0.3}}, uint8 w = {{7}},"
    " float[7] r = {{0.1,0.2,0.3,0.4,0.5,0.6,0.7}}, int8[7] u = {{1,2,3,-4,5,6,-7}},"
    " float s = {{0.02}}, int8 v = {{-3}}> {{ y = com.microsoft.QGemm<{attrs}>({names}) }}"
)


@pytest.mark.parametrize("swapped", [0, 1])
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("per_column", [False, True])
def test_gemm(swapped: int, stored: bool, per_column: bool) -> None:
    scale, zero = "ru" if per_column else "sv"
    names = f"a, p, z, b, {scale}, {zero}, c" + (", q, w" if stored else "")
    shape = (7, 5) if swapped else (5, 7)
    text = GEMM.format(
        b=f"{shape[0]},{shape[1]}",
        y="uint8" if stored else "float",
        attrs=f"transB={swapped}, alpha=1.0",
        names=names,
    )
    feeds = []
    for n in (1, 2, 13):
        rng = np.random.default_rng(n)
        b = rng.integers(-128, 128, shape, "int8")
        feeds.append({"a": _bytes(rng, n, 5), "b": b, "c": rng.integers(-50, 50, 7, "int32")})
    check(parsed(text), feeds, 0 if stored else 1e-5, 1 if stored else 1e-4)


@pytest.mark.parametrize("dynamic", [False, True])
def test_products_to_floats(dynamic: bool) -> None:
    call = "DynamicQuantizeMatMul(a, b, s, v, c)"
    if not dynamic:
        call = "MatMulIntegerToFloat(a, b, p, s, z, v, c)"
    kind = "float" if dynamic else "uint8"
    model = parsed(
        f"({kind}[n,k] a, int8[k,7] b, float[7] c) => (float[n,7] y)"
        " <float p = {0.05}, uint8 z = {120}, float s = {0.02}, int8 v = {0}>"
        f" {{ y = com.microsoft.{call} }}"
    )
    feeds = []
    for n in (1, 4, 19):
        rng = np.random.default_rng(n)
        a = rng.uniform(-1, 3, (n, 11)).astype("float32") if dynamic else _bytes(rng, n, 11)
        b, c = rng.integers(-128, 128, (11, 7), "int8"), rng.uniform(-1, 1, 7).astype("float32")
        feeds.append({"a": a, "b": b, "c": c})
    check(model, feeds, 1e-4, 1e-4)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("hidden", [4, 37])
def test_lstm_of_bytes(direction: str, hidden: int) -> None:
    """One thread: with more, ONNX Runtime takes the range of some rows only."""
    rng = np.random.default_rng(0)
    ways = 2 if direction == "bidirectional" else 1
    weights = {
        "w": rng.integers(-127, 128, (ways, 3, 4 * hidden), "int8"),
        "r": rng.integers(-127, 128, (ways, hidden, 4 * hidden), "int8"),
        "s": np.full(ways, 0.004, "float32"),
        "z": np.zeros(ways, "int8"),
        "b": rng.uniform(-1, 1, (ways, 8 * hidden)).astype("float32"),
    }
    state, given = f"float[{ways},n,{hidden}]", f'hidden_size={hidden}, direction="{direction}"'
    model = parsed(
        f"(float[t,n,3] x, int32[n] l, {state} h, {state} c)"
        f" => (float[t,{ways},n,{hidden}] y, {state} u, {state} v) {{ y, u, v = "
        f"com.microsoft.DynamicQuantizeLSTM<{given}>(x, w, r, b, l, h, c, , s, z, s, z) }}"
    )
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in weights.items())
    feeds = []
    for t, n in ((1, 1), (7, 2), (13, 5), (5, 31)):
        states = [rng.uniform(-1, 1, (ways, n, hidden)).astype("float32") for _ in "hc"]
        lengths = np.minimum(rng.integers(1, t + 1, n), t).astype("int32")
        lengths[0] = t
        x = rng.uniform(-1, 1, (t, n, 3)).astype("float32")
        feeds.append({"x": x, "l": lengths, "h": states[0], "c": states[1]})
    check(model, feeds, 0, 1e-4)
