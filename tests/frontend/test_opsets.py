"""Operators whose meaning or form changed between operator sets, each at its old ones.

One graph per operator set against ONNX Runtime, over run-time dims.
"""

from __future__ import annotations

import numpy as np
import pytest
from peer import check, parsed

# Of the inputs x: float[n,4,h], i: int64[n], what each operator set's graph computes.
GRAPHS = {
    7: """
        a1 = Softmax(x)
        a2 = LogSoftmax<axis=2>(x)
        a3 = Clip<min=-0.5, max=0.7>(x)
        a4 = Clip(x)
        a5 = Slice<starts=[1, -3], ends=[3, 1000], axes=[1, 2]>(x)
        a6 = Pad<pads=[0, 1, 2, 0, 0, 1], mode="reflect">(x)
        a7 = Upsample<scales=[1.0, 1.0, 2.0], mode="nearest">(x)
        a8, a9 = TopK<k=2, axis=1>(x)
        a10 = Squeeze<axes=[2]>(r)
        a11 = Unsqueeze<axes=[0, 3]>(x)
        a12, a13, a14 = Split<axis=1, split=[1, 2, 1]>(x)
        a15, a16 = Split<axis=1>(x)
        a17 = Dropout<ratio=0.3>(x)
        a19 = Hardmax<axis=2>(x)
        a20 = BatchNormalization<epsilon=0.01>(x, s, s, s, q)
        a21 = Gemm<transB=1, alpha=0.5, beta=2.0>(g, g, k)
        a22 = ReduceSum<axes=[1], keepdims=0>(x)
        a23 = ReduceL2<axes=[0, 2]>(x)
        a24 = ArgMax<axis=1>(x)
        a25 = Flatten<axis=2>(x)
        a26 = AveragePool<kernel_shape=[3], pads=[1, 1], count_include_pad=1>(x)
        a27 = MaxPool<kernel_shape=[2], strides=[2]>(x)
        a28 = PRelu(x, p)
        a29 = Reshape(x, t)
        a30 = Tile(x, u)
        a31 = Cast<to=7>(x)
        a32 = Greater(x, p)
        a33 = Sum(x, x, x)
    """,
    9: """
        a1 = ConstantOfShape<value=float[1]{2.5}>(t2)
        a2 = EyeLike<k=1>(g)
        a3 = Scatter<axis=1>(x, j, y)
        a4 = OneHot<axis=0>(i, depth, values)
        a5 = Upsample<mode="linear">(z, scales)
        a6 = Where(c, x, y)
        a7 = Shrink<lambd=0.4, bias=0.1>(x)
        a8 = MeanVarianceNormalization<axes=[0, 2]>(x)
        a9 = NonZero(x)
        a10 = Erf(x)
        a11 = Compress<axis=1>(x, keep)
        a12 = IsNaN(x)
        a17 = Sign(x)
        a13, a14 = MaxPool<kernel_shape=[2], strides=[2]>(x)
        a15 = Max(x, p)
        a16 = Expand(p, t3)
    """,
    10: """
        a1 = Slice(x, b, e, ax, st)
        a2 = Resize<mode="nearest">(z, scales)
        a3 = Resize<mode="linear">(z, scales)
        a4, a5 = TopK<axis=1>(x, kk)
        a6 = Dropout(x)
        a8 = Mod<fmod=1>(x, y)
        a9 = ThresholdedRelu<alpha=0.2>(x)
        a10 = AveragePool<kernel_shape=[3], strides=[2], ceil_mode=1>(x)
        a11 = MaxPool<kernel_shape=[2], dilations=[2]>(x)
        a12 = QuantizeLinear(x, qs, qz)
        a13 = DequantizeLinear(a12, qs, qz)
        a14 = IsInf(x)
        a15 = ReverseSequence<time_axis=1, batch_axis=0>(x, lens)
    """,
    11: """
        a1 = Clip(x, low, high)
        a2 = Clip(x, , high)
        a3 = Pad(x, pads, low)
        a4, a5 = TopK<axis=-2, largest=0, sorted=1>(x, kk)
        a6 = Resize<mode="cubic">(z, roi, scales)
        a7 = Softmax<axis=-1>(x)
        a8 = Hardmax(x)
        a9 = Squeeze<axes=[-1]>(r)
        a10 = Unsqueeze<axes=[-1]>(x)
        a11 = ReduceSum<axes=[-1]>(x)
        a12 = CumSum<exclusive=1>(x, axis)
        a13 = Flatten<axis=-1>(x)
        a14 = Gather<axis=-2>(x, j1)
        a15 = ScatterElements<axis=-2>(x, j, y)
        a16 = BitShift<direction="LEFT">(bits, bits)
        a17, a18 = Split<axis=-2>(x)
        a19 = ArgMin<axis=-1, keepdims=0>(x)
        a20 = Concat<axis=-1>(x, y)
        a21 = GatherElements<axis=1>(x, j)
        a22 = Range(r0, r1, r2)
        a23 = Round(x)
    """,
    12: """
        a1, a2 = Dropout(x, high)
        a3 = ArgMax<axis=1, select_last_index=1>(x)
        a4 = Celu<alpha=0.7>(x)
        a5 = Einsum<equation="nch,nch->nh">(x, y)
        a6 = GatherND<batch_dims=1>(x, jn)
        a7 = Pow(x, two)
        a8 = LogSoftmax<axis=1>(x)
        a9 = MaxPool<kernel_shape=[3], ceil_mode=1>(x)
        a10 = LessOrEqual(x, y)
    """,
    13: """
        a1 = Softmax(x)
        a2 = Hardmax(x)
        a3 = Squeeze(r, axes)
        a4 = Unsqueeze(x, axes)
        a5 = ReduceSum(x, axes)
        a6 = ReduceMean<axes=[1]>(x)
        a7, a8, a9 = Split<axis=1>(x, parts)
        a10 = Resize<coordinate_transformation_mode="tf_crop_and_resize">(z, roi, , sizes)
        a11 = DequantizeLinear<axis=1>(bytes, s, bz)
        a12 = ReduceSum<noop_with_empty_axes=1>(x)
    """,
    15: """
        a1, a2, a3 = BatchNormalization<training_mode=1, momentum=0.8>(x, s, s, s, q)
        a4 = BatchNormalization(x, s, s, s, q)
        a5 = Shape<start=1>(x)
        a6 = Reshape<allowzero=1>(x, t)
        a7 = CastLike(x, bits)
        a10 = Pow(two, two)
        a11 = Add(bits, bits)
    """,
    18: """
        a1 = ReduceMean(x, axes)
        a2 = ReduceL1<keepdims=0>(x, axes)
        a3, a4 = Split<axis=1, num_outputs=2>(x)
        a6 = Pad<mode="wrap">(x, padsone, , axes)
        a7 = Resize<axes=[2], keep_aspect_ratio_policy="not_larger">(x, , , sizeone)
        a8 = ScatterElements<axis=1, reduction="max">(x, j, y)
        a9 = GroupNormalization<num_groups=2>(x, two2, two2)
        a10 = LpPool<kernel_shape=[2], ceil_mode=1>(x)
        a11 = BitwiseAnd(bits, bits)
        a12 = Mish(x)
        a13 = CenterCropPad<axes=[2]>(x, sizeone)
    """,
    21: """
        a1 = GroupNormalization<num_groups=2>(x, s, s)
        a2 = Gelu<approximate="tanh">(x)
        a3 = ReduceMax(flags, axes)
        a4 = AveragePool<kernel_shape=[3], dilations=[2]>(x)
        a5 = Pad<mode="edge">(x, pads)
        a6 = IsInf<detect_negative=0>(x)
        a7 = DequantizeLinear<axis=1>(bytes, s, bz)
        a8 = QuantizeLinear<axis=1>(x, s, bz)
    """,
}

# Constants and the further inputs that the graphs use, by name: a declaration with its value.
CONSTANTS = {
    "s": "float[4] s = {0.5, 1.5, 2.5, 0.7}",
    "q": "float[4] q = {1.5, 0.2, 2.5, 3.0}",
    "k": "float[3] k = {1.0, 2.0, 3.0}",
    "p": "float[4,1] p = {0.1, 0.2, -0.3, 0.4}",
    "t": "int64[2] t = {-1, 4}",
    "t2": "int64[2] t2 = {2, 3}",
    "t3": "int64[3] t3 = {2, 1, 5}",
    "u": "int64[3] u = {2, 1, 3}",
    "depth": "int64 depth = {5}",
    "values": "float[2] values = {-1.0, 2.0}",
    "scales": "float[4] scales = {1.0, 1.0, 2.0, 1.5}",
    "keep": "bool[3] keep = {1, 0, 1}",
    "b": "int64[2] b = {-1, 0}",
    "e": "int64[2] e = {-100, 3}",
    "ax": "int64[2] ax = {2, 1}",
    "st": "int64[2] st = {-2, 2}",
    "kk": "int64[1] kk = {3}",
    "qs": "float qs = {0.05}",
    "qz": "uint8 qz = {120}",
    "bz": "uint8[4] bz = {120, 3, 99, 200}",
    "low": "float low = {-0.5}",
    "high": "float high = {0.7}",
    "pads": "int64[6] pads = {0, 1, 2, 0, 0, 1}",
    "padsone": "int64[2] padsone = {1, 2}",
    "roi": "float[8] roi = {0.0, 0.0, 0.1, 0.2, 1.0, 1.0, 0.8, 0.9}",
    "sizes": "int64[4] sizes = {2, 4, 3, 5}",
    "sizeone": "int64[1] sizeone = {5}",
    "axis": "int64 axis = {-1}",
    "axes": "int64[1] axes = {2}",
    "j1": "int64[2] j1 = {-1, 2}",
    "r0": "int64 r0 = {7}",
    "r1": "int64 r1 = {-3}",
    "r2": "int64 r2 = {-2}",
    "two": "float two = {2.0}",
    "two2": "float[2] two2 = {2.0, 0.5}",
    "parts": "int64[3] parts = {1, 2, 1}",
    "g": "float[3,3] g = {1, 2, 3, 4, 5, 6, 7, 8, 9}",
}
INPUTS = {
    "x": "float[n,4,h] x",
    "y": "float[n,4,h] y",
    "r": "float[n,4,1] r",
    "z": "float[n,4,h,v] z",
    "i": "int64[n] i",
    "j": "int64[n,4,h] j",
    "c": "bool[n,4,h] c",
    "jn": "int64[n,1] jn",
    "lens": "int64[n] lens",
    "bits": "uint32[n] bits",
    "bytes": "uint8[n,4,h] bytes",
    "flags": "bool[n,4,h] flags",
}


def _feed(names: list[str], n: int, h: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n + h)
    values = {
        "i": rng.integers(-2, 5, n),
        "j": np.argsort(rng.random((n, 4, h)), 1),
        "jn": rng.integers(0, 4, (n, 1)),
        "lens": rng.integers(1, 5, n),
        "bits": rng.integers(0, 5, n, "uint32"),
        "bytes": rng.integers(0, 256, (n, 4, h), "uint8"),
        "c": rng.random((n, 4, h)) > 0.5,
        "flags": rng.random((n, 4, h)) > 0.8,
        "r": rng.normal(size=(n, 4, 1)).astype("float32"),
        "z": rng.normal(size=(n, 4, h, h + 2)).astype("float32"),
    }
    floats = rng.normal(size=(n, 4, h)).astype("float32")
    return {name: values.get(name, floats + (name == "y")) for name in names}


@pytest.mark.parametrize("opset", GRAPHS)
def test_old_forms(opset: int) -> None:
    body = GRAPHS[opset]
    words = {
        word.strip(",;")
        for part in body.replace("(", " ( ").replace(")", " ").split("\n")
        for word in part.partition("( ")[2].replace(",", " ").split()
    }
    inputs = [name for name in INPUTS if name in words]
    constants = ", ".join(text for name, text in CONSTANTS.items() if name in words)
    lines = list(filter(str.strip, body.splitlines()))
    results = [
        name.strip()
        for line in lines
        for name in line.partition("=")[0].split(",")
        if name.strip().startswith("a")
    ]
    head = ", ".join(INPUTS[name] for name in inputs)
    outputs = ", ".join(f"float {name}" for name in results)
    text = f"({head}) => ({outputs}) <{constants}> {{ {' '.join(lines)} }}"
    model = parsed(text, opset)
    for value in model.graph.output:
        value.ClearField("type")
    check(model, [_feed(inputs, n, h) for n, h in ((1, 4), (3, 7), (2, 11))], 1e-4, 1e-4)
