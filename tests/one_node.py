"""A model of one node, for tests of the command line."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

FLOAT = TensorProto.FLOAT


def save(folder: Path, node: onnx.NodeProto) -> Path:
    """A model of one node: x [n, 3] and y [n] to z."""
    graph = helper.make_graph(
        [node],
        "graph",
        [
            helper.make_tensor_value_info("x", FLOAT, ["n", 3]),
            helper.make_tensor_value_info("y", FLOAT, ["n", 1]),
        ],
        [helper.make_tensor_value_info("z", FLOAT, ["n", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path
