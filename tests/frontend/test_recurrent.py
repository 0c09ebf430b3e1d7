"""LSTM, GRU and RNN in random configurations against ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm
from onnx import TensorProto, helper, numpy_helper

from tvm_sod2 import build, from_onnx
from tvm_sod2.errors import ImportModelError

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
ACTIVATIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
BOUNDED = ["Tanh", "Sigmoid", "HardSigmoid", "Softsign"]  # others may grow beyond any tolerance
UNBOUNDED = ["Affine", "Elu", "LeakyRelu", "Relu", "ScaledTanh", "Softplus", "ThresholdedRelu"]
INPUTS = 7


@dataclass
class Network:
    """One recurrent node; its weights are constants or inputs."""

    model: onnx.ModelProto
    given: dict[str, np.ndarray]

    def feed(self, steps: int, rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        values: dict[str, np.ndarray] = {}
        for value in self.model.graph.input:
            dims = [
                {"steps": steps, "rows": rows}.get(dim.dim_param, dim.dim_value)
                for dim in value.type.tensor_type.shape.dim
            ]
            if value.name in self.given:
                values[value.name] = self.given[value.name]
            elif value.name == "lengths":
                values[value.name] = rng.integers(1, steps + 1, dims).astype("int32")
            else:
                values[value.name] = rng.normal(size=dims).astype("float32")
        return values


def network(
    kind: str,
    hidden: int,
    rng: np.random.Generator,
    *,
    constant: bool = True,
    lengths: bool = False,
    first: bool = False,
    peepholes: bool = False,
    results: str = "yhc",
    **attrs: Any,
) -> Network:
    directions = 2 if attrs.get("direction") == "bidirectional" else 1
    width = GATES[kind] * hidden
    weights = {
        "w": rng.normal(size=(directions, width, INPUTS)),
        "r": rng.normal(size=(directions, width, hidden)) / np.sqrt(hidden),
        "b": rng.normal(size=(directions, 2 * width)),
    }
    if peepholes:
        weights["p"] = rng.normal(size=(directions, 3 * hidden))
    given = {name: value.astype("float32") for name, value in weights.items()}
    names = ["x", "w", "r", "b", "lengths" if lengths else "", "h" if first else ""]
    shapes: dict[str, list[Any]] = {"x": ["steps", "rows", INPUTS]}
    if lengths:
        shapes["lengths"] = ["rows"]
    if first:
        shapes["h"] = [directions, "rows", hidden]
    if kind == "LSTM":
        names += ["c" if first else "", "p" if peepholes else ""]
        shapes |= {"c": [directions, "rows", hidden]} if first else {}
    if not constant:
        shapes |= {name: list(value.shape) for name, value in given.items()}
    outputs = [name if name in results else "" for name in ("yhc" if kind == "LSTM" else "yh")]
    node = helper.make_node(
        kind, names, [out and f"out_{out}" for out in outputs], hidden_size=hidden, **attrs
    )
    graph = helper.make_graph(
        [node],
        "recurrent",
        [
            helper.make_tensor_value_info(
                name, TensorProto.INT32 if name == "lengths" else TensorProto.FLOAT, shape
            )
            for name, shape in shapes.items()
        ],
        [
            helper.make_tensor_value_info(f"out_{out}", TensorProto.FLOAT, None)
            for out in outputs
            if out
        ],
        [numpy_helper.from_array(value, name) for name, value in given.items()] if constant else [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return Network(model, {} if constant else given)


def run(model: onnx.ModelProto) -> Any:
    vm = tvm.relax.VirtualMachine(build(from_onnx(model)), tvm.cpu())

    def call(feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        result = vm["main"](*map(tvm.runtime.tensor, feed.values()))
        if isinstance(result, tvm.runtime.Tensor):
            return [result.numpy()]
        return [value.numpy() for value in result]

    return call


def check(net: Network, shapes: list[tuple[int, int]], rng: np.random.Generator) -> None:
    ours = run(net.model)
    theirs = onnxruntime.InferenceSession(net.model.SerializeToString())
    for steps, rows in shapes:
        feed = net.feed(steps, rows, rng)
        for got, expected in zip(ours(feed), theirs.run(None, feed), strict=True):
            np.testing.assert_allclose(
                got, expected, rtol=1e-4, atol=1e-4, err_msg=f"steps={steps}, rows={rows}"
            )


@pytest.mark.parametrize("seed", range(14))
def test_random_configuration(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = list(GATES)[seed % 3]
    direction = ["forward", "reverse", "bidirectional"][int(rng.integers(3))]
    attrs: dict[str, Any] = {"direction": direction}
    count = ACTIVATIONS[kind] * (2 if direction == "bidirectional" else 1)
    if rng.random() < 0.4:
        attrs["activations"] = [str(name) for name in rng.choice(BOUNDED, count)]
    if rng.random() < 0.4:
        attrs["clip"] = 0.6
    if kind == "GRU":
        attrs["linear_before_reset"] = int(rng.integers(2))
    if kind == "LSTM":
        attrs["input_forget"] = int(rng.random() < 0.3)
    net = network(
        kind,
        int(rng.choice([1, 2, 5, 16, 17, 33, 64])),
        rng,
        constant=rng.random() < 0.7,
        lengths=rng.random() < 0.5,
        first=rng.random() < 0.5,
        peepholes=kind == "LSTM" and rng.random() < 0.4,
        **attrs,
    )
    check(net, [(1, 1), (2, 3), (11, 4), (3, 15)], rng)


@pytest.mark.parametrize("name", UNBOUNDED)
def test_unbounded_activation(name: str) -> None:
    rng = np.random.default_rng(0)
    check(
        network("RNN", 9, rng, activations=[name], activation_alpha=[0.8], activation_beta=[0.7]),
        [(2, 2)],
        rng,
    )


def test_only_the_last_state_is_wanted() -> None:
    rng = np.random.default_rng(0)
    check(network("LSTM", 12, rng, results="h"), [(4, 2)], rng)


def test_weights_beyond_the_cache_serve_several_blocks_of_rows() -> None:
    rng = np.random.default_rng(0)
    net = network("GRU", 210, rng, lengths=True, direction="bidirectional", linear_before_reset=1)
    check(net, [(3, 1), (4, 41)], rng)


@pytest.mark.parametrize(("kind", "hidden"), [("LSTM", 301), ("GRU", 421), ("RNN", 530)])
def test_threads_share_the_columns_of_few_rows(kind: str, hidden: int) -> None:
    """As many steps by columns as by rows, with columns that are no multiple of a vector."""
    rng = np.random.default_rng(0)
    net = network(kind, hidden, rng, lengths=True, first=kind != "RNN")
    check(net, [(1, 1), (4, 1), (3, 2), (2, 7), (2, 31)], rng)


@pytest.mark.parametrize("kind", GATES)
def test_nothing_to_do(kind: str) -> None:
    """No steps give the first state back, no rows an empty one; ONNX Runtime refuses both."""
    rng = np.random.default_rng(0)
    net = network(kind, 6, rng, first=True)
    ours = run(net.model)
    feed = net.feed(1, 2, rng) | {"x": np.zeros((0, 2, INPUTS), "float32")}
    y, *last = ours(feed)
    assert y.shape == (0, 1, 2, 6)
    for value, first in zip(last, ["h", "c"], strict=False):
        np.testing.assert_array_equal(value, feed[first])
    assert ours(net.feed(3, 0, rng))[0].shape == (3, 1, 0, 6)


def test_constants_of_activations_go_to_those_that_take_them() -> None:
    rng = np.random.default_rng(0)
    net = network(
        "LSTM",
        5,
        rng,
        activations=["HardSigmoid", "Tanh", "LeakyRelu"],
        activation_alpha=[0.3, 0.05],
        activation_beta=[0.4],
    )
    check(net, [(3, 2)], rng)


def test_an_unknown_activation_is_refused() -> None:
    net = network("RNN", 3, np.random.default_rng(0), activations=["Mish"])
    with pytest.raises(ImportModelError, match="unknown activation 'Mish'"):
        from_onnx(net.model)
