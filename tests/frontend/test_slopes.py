"""PRelu: one operator where each channel has a slope, arithmetic anywhere else."""

from __future__ import annotations

import numpy as np
from peer import check, parsed
from tvm import relax

from tvm_sod2 import from_onnx

SLOPES = """(float[b,3,h,w] x, float[n,4] y) =>
    (float[b,3,h,w] p, float[b,3,h,w] q, float[n,4] r, float[n,4] s, float[n,4] t)
<float[3,1,1] channels = {0.5, -2.0, 0.0}, float[1] all = {0.25},
 float[4] last = {1.0, -1.0, 3.0, 0.5}> {
    p = PRelu(x, channels)  q = PRelu(x, all)  r = PRelu(y, last)  s = PRelu(y, all)
    t = PRelu(y, y)
}"""


def test_slopes_of_any_shape() -> None:
    rng = np.random.default_rng(0)
    shapes = [((1, 3, 5, 7), (1, 4)), ((2, 3, 1, 2), (6, 4)), ((0, 3, 2, 2), (0, 4))]
    check(
        parsed(SLOPES),
        (
            {n: rng.standard_normal(s).astype("f4") for n, s in zip("xy", of, strict=True)}
            for of in shapes
        ),
    )


def test_only_slopes_of_channels_are_one_operator() -> None:
    axes = []

    def visit(expr: relax.Expr) -> None:
        if isinstance(expr, relax.Call) and getattr(expr.op, "name", "") == "relax.nn.prelu":
            axes.append(int(expr.attrs.axis))

    relax.analysis.post_order_visit(from_onnx(parsed(SLOPES))["main"], visit)
    assert axes == [1, 1]
