"""What the data switches off does not run: kernels are counted, results compared."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm
from tvm import relax

from scripts.bench_gates import count_kernels
from scripts.control_flow_models import MODELS
from scripts.gated import gated_network
from tvm_sod2 import build, from_onnx

GATES, WIDTH = 16, 32


def machine(model: onnx.ModelProto) -> relax.VirtualMachine:
    return relax.VirtualMachine(build(from_onnx(model)), tvm.cpu())


def test_each_live_gate_runs_its_own_kernels_and_no_other() -> None:
    model = gated_network(GATES, products=2, width=WIDTH)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    vm = machine(model)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, WIDTH)).astype("float32")
    counts = {}
    for live in (0, 1, 7, GATES):
        gates = np.full(GATES, -1, "float32")
        gates[rng.permutation(GATES)[:live]] = 1
        arguments = [tvm.runtime.tensor(value) for value in (x, gates)]
        counts[live] = count_kernels(vm, lambda feed=arguments: vm["main"](*feed)).total()
        (expected,) = session.run(None, {"x": x, "gates": gates})
        found = vm["main"](*arguments).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    block = counts[1] - counts[0]
    assert block >= 2
    assert counts == {live: counts[0] + live * block for live in counts}


NESTED = """<ir_version: 9, opset_import: ["": 17]> g (float[n] x, bool a, bool b) => (float[n] y) {
    y = If(a) <
        then_branch = t () => (float[n] p) {
            q = Exp(x)
            p = If(b) <
                then_branch = tt () => (float[n] r) { r = Tanh(q) },
                else_branch = tf () => (float[n] s) { s = Sin(q) }
            >
        },
        else_branch = f () => (float[n] u) { u = Cos(x) }
    >
}"""


@pytest.mark.parametrize(
    ("a", "b", "live"),
    [
        (True, True, {"exp", "tanh"}),
        (True, False, {"exp", "sin"}),
        (False, True, {"cos"}),
        (False, False, {"cos"}),
    ],
)
def test_of_nested_arms_only_the_live_ones_run(a: bool, b: bool, live: set[str]) -> None:
    vm = machine(onnx.parser.parse_model(NESTED))
    x = np.linspace(-1, 1, 7).astype("float32")
    feed = [tvm.runtime.tensor(np.asarray(value)) for value in (x, a, b)]
    called: Counter[str] = count_kernels(vm, lambda: vm["main"](*feed))
    operators = {"exp", "tanh", "sin", "cos"}
    assert {name for name in operators if any(name in kernel for kernel in called)} == live
    inner = np.exp(x)
    expected = (np.tanh(inner) if b else np.sin(inner)) if a else np.cos(x)
    np.testing.assert_allclose(vm["main"](*feed).numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_one_build_is_right_for_every_pattern_of_gates(name: str) -> None:
    model = MODELS[name]()
    session = onnxruntime.InferenceSession(model.SerializeToString())
    vm = machine(model)
    rng = np.random.default_rng(0)
    kernels: list[int] = []
    shapes: list[Any] = [(1, 32, 32), (2, 17, 23), (1, 8, 5)]
    for n, h, w in shapes:
        for scale in (-8, -1, 0.1, 1, 8):
            colour = rng.normal(size=(3, 1, 1))
            image = (scale * (colour + rng.normal(0, 0.3, (n, 3, h, w)))).astype("float32")
            (expected,) = session.run(None, {"image": image})
            argument = tvm.runtime.tensor(image)
            kernels.append(count_kernels(vm, lambda x=argument: vm["main"](x)).total())
            found = vm["main"](argument).numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert len(set(kernels)) > 1, "the gates of these inputs all do the same"
