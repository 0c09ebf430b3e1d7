"""Normalisation by moments: exact to NumPy in float64, and without copies of the image."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tvm
from tvm import relax

import tvm_sod2
from tvm_sod2.passes.lower import memory_plan
from tvm_sod2.pipeline import phases, resolve

SHAPES = [(1, 6, 1, 1), (2, 6, 3, 5), (1, 6, 17, 16), (3, 6, 1, 31)]
SCALE, BIAS = np.linspace(0.5, 2, 6), np.linspace(-1, 1, 6)

NODES = {
    "instance": "InstanceNormalization <epsilon = 0.001> (x, s, t)",
    "group": "GroupNormalization <num_groups = 3, epsilon = 0.001> (x, s, t)",
    "mean and variance": "MeanVarianceNormalization <axes = [0, 2, 3]> (x)",
}


def model(node: str) -> onnx.ModelProto:
    scale, bias = (", ".join(map(str, values)) for values in (SCALE, BIAS))
    proto = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 21]>
        g (float[n,6,h,w] x) => (float[n,6,h,w] y)
        <float[6] s = {{{scale}}}, float[6] t = {{{bias}}}>
        {{ y = {node} }}"""
    )
    onnx.checker.check_model(proto)
    return proto


def reference(name: str, x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    if name == "mean and variance":
        centred = x - x.mean((0, 2, 3), keepdims=True)
        return centred / (x.std((0, 2, 3), keepdims=True) + 1e-9)
    grouped = x.reshape(x.shape[0], 6 if name == "instance" else 3, -1)
    centred = grouped - grouped.mean(2, keepdims=True)
    normal = centred / np.sqrt(grouped.var(2, keepdims=True) + 0.001)
    return normal.reshape(x.shape) * SCALE[:, None, None] + BIAS[:, None, None]


@pytest.mark.parametrize("name", NODES)
def test_at_any_size(name: str) -> None:
    executable = tvm_sod2.build(tvm_sod2.from_onnx(model(NODES[name])))
    main = relax.VirtualMachine(executable, tvm.cpu())["main"]
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        x = (rng.standard_normal(shape) * 3 + 10).astype(np.float32)
        if name == "mean and variance" and x[:, 0].size == 1:
            continue  # 0 / 1e-9: what is left of rounding
        found = main(tvm.runtime.tensor(x)).numpy()
        np.testing.assert_allclose(found, reference(name, x), rtol=2e-5, atol=2e-5)


def test_what_lies_between_is_as_small_as_the_moments() -> None:
    target = resolve(None)
    mod = tvm_sod2.from_onnx(model(NODES["instance"]))
    with target:
        for phase in phases(target):
            if phase.name == "order":
                break
            mod = tvm.transform.Sequential(phase.passes)(mod)
    plan = memory_plan(mod)
    small, large = (plan.at({"n": 2, "h": side, "w": side}).after for side in (8, 512))
    assert 0 < small == large
