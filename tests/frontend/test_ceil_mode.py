"""Pools that round up, at every size of the image: dims without conditions, and right numbers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm
from tvm import relax

import tvm_sod2

WINDOWS = [  # kernel, stride, pad before, pad after, dilation
    (2, 2, 0, 0, 1),
    (3, 2, 1, 1, 1),
    (2, 3, 1, 1, 1),
    (3, 5, 0, 2, 1),
    (2, 4, 1, 0, 2),
    (1, 3, 0, 0, 1),
    (3, 3, 2, 2, 1),
]


@pytest.mark.parametrize("window", WINDOWS)
def test_pools_that_round_up(window: tuple[int, ...]) -> None:
    size, stride, before, after, dilation = window
    attributes = (
        f"kernel_shape = [{size}], strides = [{stride}], pads = [{before}, {after}], "
        f"dilations = [{dilation}], ceil_mode = 1"
    )
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": 22]>
        pools (float[1,2,w] x)
        => (float[1,2,p] a, float[1,2,p] b, float[1,2,p] c, float[1,2,p] d) {{
            a = MaxPool<{attributes}>(x)
            b = AveragePool<{attributes}>(x)
            c = AveragePool<{attributes}, count_include_pad = 1>(x)
            d = LpPool<{attributes}, p = 2>(x)
        }}"""
    )
    mod = tvm_sod2.from_onnx(model)
    assert "if_then_else" not in mod.script()
    main = relax.VirtualMachine(tvm_sod2.build(mod), tvm.cpu())["main"]
    peer = onnxruntime.InferenceSession(model.SerializeToString())
    for width in range(max(2, (size - 1) * dilation + 1 - before - after), 14):
        x = np.random.default_rng(width).normal(size=(1, 2, width)).astype("float32")
        results = zip(main(tvm.runtime.tensor(x)), peer.run(None, {"x": x}), strict=True)
        for got, expected in results:
            np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-6)
