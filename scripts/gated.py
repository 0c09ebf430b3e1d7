"""A network of which the data decides what runs: blocks in arms of If, a gate for each."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH = 256
"""Rows and columns of a block's matrices."""


def gated_network(gates: int, products: int = 4, width: int = WIDTH) -> onnx.ModelProto:
    """x and one number for each gate in, y out; y goes through block i only where gate i is > 0.

    x, y: float32 (n, width); gates: float32 (gates,). A block multiplies `products` times by a
    weight of its own and adds what came in. Dead blocks give their input back.
    """
    rng = np.random.default_rng(0)
    tensors = [_tensor("zero", np.float32(0))]
    nodes, value = [], "x"
    for gate in range(gates):
        tensors.append(_tensor(f"at{gate}", np.int64(gate)))
        for step in range(products):
            weight = rng.normal(size=(width, width)) / np.sqrt(width)
            tensors.append(_tensor(f"w{gate}_{step}", weight.astype("float32")))
        nodes += [
            helper.make_node("Gather", ["gates", f"at{gate}"], [f"g{gate}"]),
            helper.make_node("Greater", [f"g{gate}", "zero"], [f"on{gate}"]),
            helper.make_node(
                "If",
                [f"on{gate}"],
                [f"y{gate}"],
                then_branch=_block(value, gate, products),
                else_branch=_skip(value, gate),
            ),
        ]
        value = f"y{gate}"
    graph = helper.make_graph(
        nodes,
        "gated",
        [_value("x", ["n", width]), _value("gates", [gates])],
        [_value(value, ["n", width])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _block(value: str, gate: int, products: int) -> onnx.GraphProto:
    nodes, last = [], value
    for step in range(products):
        name = f"b{gate}_{step}"
        nodes.append(helper.make_node("MatMul", [last, f"w{gate}_{step}"], [f"{name}_m"]))
        nodes.append(helper.make_node("Relu", [f"{name}_m"], [name]))
        last = name
    nodes.append(helper.make_node("Add", [last, value], [f"b{gate}"]))
    return helper.make_graph(nodes, f"block{gate}", [], [_value(f"b{gate}", None)])


def _skip(value: str, gate: int) -> onnx.GraphProto:
    node = helper.make_node("Identity", [value], [f"s{gate}"])
    return helper.make_graph([node], f"skip{gate}", [], [_value(f"s{gate}", None)])


def _value(name: str, dims: list[str | int] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


def _tensor(name: str, value: np.ndarray | np.generic) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)
