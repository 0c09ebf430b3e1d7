"""Deformable convolution and filters that shrink, against ONNX Runtime at several shapes each."""

from __future__ import annotations

import numpy as np
import pytest
from peer import check, parsed


def _floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(-2, 2, shape).astype("float32")


@pytest.mark.parametrize("mask", [False, True])
def test_deform_conv(mask: bool) -> None:
    model = parsed(
        "(float[n,4,h,w] x, float[6,2,p,q] k, float[n,o,r,s] d, float[6] b, float[n,m,r,s] a)"
        " => (float[n,6,r,s] y) { y = DeformConv<group=2, offset_group=2, strides=[2,1],"
        " pads=[1,0,1,2], dilations=[1,2]>(x, k, d, b, a) }",
        opset=22,
    )
    if not mask:
        model.graph.node[0].input.pop()
        model.graph.input.pop()
    feeds = []
    for seed, (n, h, w, p, q) in enumerate([(1, 7, 9, 3, 2), (2, 5, 5, 1, 1), (1, 13, 6, 2, 3)]):
        rng = np.random.default_rng(seed)
        r, s = (h + 2 - p) // 2 + 1, w + 2 - 2 * (q - 1) - 1 + 1
        feed = {
            "x": _floats(rng, n, 4, h, w),
            "k": _floats(rng, 6, 2, p, q),
            "d": _floats(rng, n, 2 * p * q * 2, r, s),
            "b": _floats(rng, 6),
        }
        feeds.append(feed | ({"a": _floats(rng, n, 2 * p * q, r, s)} if mask else {}))
    check(model, feeds, 1e-3, 1e-4)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("outside", [0, 1])
@pytest.mark.parametrize("given", ["sizes", "scales"])
def test_antialiasing_shrinks_and_enlarges(mode: str, outside: int, given: str) -> None:
    inputs, kind = ("x, , , s", "int64") if given == "sizes" else ("x, , s", "float")
    model = parsed(
        f"(float[b,c,h,w] x, {kind}[2] s) => (float[b,c,p,q] y) {{ y = Resize<axes=[2,3],"
        f' antialias=1, exclude_outside={outside}, mode="{mode}">({inputs}) }}'
    )
    # Where a scale leaves the size as it is, ONNX Runtime copies, and the standard does not.
    targets = [(3, 5), (7, 8), (1, 2), (20, 6)]
    feeds = []
    for seed, target in enumerate(targets):
        x = _floats(np.random.default_rng(seed), 1, 2, 13, 11)
        wanted = np.array(target, "int64")
        if given == "scales":
            wanted = (wanted / np.array([13, 11]) + 0.01).astype("float32")
        feeds.append({"x": x, "s": wanted})
    check(model, feeds, 1e-3, 1e-4)


def test_antialiasing_of_pixels_rounds() -> None:
    model = parsed(
        "(uint8[b,c,h,w] x, int64[2] s) => (uint8[b,c,p,q] y)"
        '{ y = Resize<axes=[2,3], antialias=1, mode="linear">(x, , , s) }'
    )
    x = np.random.default_rng(0).integers(0, 256, (1, 3, 17, 12), "uint8")
    feeds = [{"x": x, "s": np.array(size, "int64")} for size in ((5, 7), (16, 3))]
    check(model, feeds, 0, 1)
