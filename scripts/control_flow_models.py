"""Networks with control flow as SoD2 (ASPLOS 2024) measured them, small and with random weights.

SkipNet computes a gate in front of each block from what comes in. BlockDrop's policy decides on
all blocks at once from the image. RANet looks at the image at growing resolutions, until it is
sure enough. In ONNX each choice is an If, and an early exit is an If in an If.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 10


class _Graph:
    """Nodes with names of their own, and the weights of the whole model."""

    def __init__(self, rng: np.random.Generator, weights: dict[str, np.ndarray]) -> None:
        self.rng, self.weights, self.nodes = rng, weights, list[onnx.NodeProto]()

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"v{self.rng.integers(1 << 60)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value: np.ndarray | np.generic) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(value)
        return name

    def weight(self, *shape: int) -> str:
        fan_in = int(np.prod(shape[1:]))
        return self.constant((self.rng.normal(size=shape) / np.sqrt(fan_in)).astype("float32"))

    def conv(self, x: str, channels: int, out: int, stride: int = 1) -> str:
        weight = self.weight(out, channels, 3, 3)
        bias = self.constant((0.1 * self.rng.normal(size=out)).astype("float32"))
        y = self.op("Conv", x, weight, bias, pads=[1] * 4, strides=[stride] * 2)
        return self.op("Relu", y)

    def pooled(self, x: str) -> str:
        """(n, channels)"""
        return self.op("Flatten", self.op("GlobalAveragePool", x))

    def dense(self, x: str, size: int, out: int) -> str:
        return self.op("MatMul", x, self.weight(size, out))

    def positive(self, x: str) -> str:
        """Whether the mean of all entries is above 0, as a scalar."""
        zero = self.constant(np.float32(0))
        return self.op("Greater", self.op("ReduceMean", x, keepdims=0), zero)

    def choose(self, on: str, then: Callable[[_Graph], str], other: Callable[[_Graph], str]) -> str:
        """An If whose arms' results have one rank."""
        arms = []
        for emit in (then, other):
            arm = _Graph(self.rng, self.weights)
            result = emit(arm)
            value = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
            arms.append(helper.make_graph(arm.nodes, "arm", [], [value]))
        return self.op("If", on, then_branch=arms[0], else_branch=arms[1])

    def identity(self, x: str) -> str:
        return self.op("Identity", x)


def skipnet(blocks: int = 6, channels: int = 8) -> onnx.ModelProto:
    """A residual network of which each block is skipped where its gate says so."""

    def body(g: _Graph, x: str) -> str:
        y = g.conv(x, 3, channels)
        for _ in range(blocks):
            gate = g.positive(g.dense(g.pooled(y), channels, 1))
            y = g.choose(gate, partial(_residual, x=y, channels=channels), _kept(y))
        return g.dense(g.pooled(y), channels, CLASSES)

    return _model("skipnet", body)


def blockdrop(blocks: int = 6, channels: int = 8) -> onnx.ModelProto:
    """A residual network whose blocks a second, small network keeps or drops beforehand."""

    def body(g: _Graph, x: str) -> str:
        policy = g.dense(g.pooled(g.conv(x, 3, channels, stride=2)), channels, blocks)
        y = g.conv(x, 3, channels)
        for block in range(blocks):
            column = g.op("Gather", policy, g.constant(np.int64(block)), axis=1)
            keep = g.positive(column)
            y = g.choose(keep, partial(_residual, x=y, channels=channels), _kept(y))
        return g.dense(g.pooled(y), channels, CLASSES)

    return _model("blockdrop", body)


def ranet(scales: int = 3, channels: int = 8) -> onnx.ModelProto:
    """Classifiers at growing resolutions; the first that is sure gives the answer."""

    def body(g: _Graph, x: str) -> str:
        return _from_scale(g, x, scales - 1, channels)

    return _model("ranet", body)


def _from_scale(g: _Graph, x: str, halvings: int, channels: int) -> str:
    small = x
    for _ in range(halvings):
        small = g.op("AveragePool", small, kernel_shape=[2, 2], strides=[2, 2])
    features = g.conv(g.conv(small, 3, channels), channels, channels)
    logits = g.dense(g.pooled(features), channels, CLASSES)
    if halvings == 0:
        return logits
    sure = g.op("ReduceMax", g.op("Softmax", logits, axis=-1), keepdims=0)
    margin = g.op("Sub", sure, g.constant(np.float32(0.3)))
    return g.choose(
        g.positive(margin),
        lambda arm: arm.identity(logits),
        lambda arm: _from_scale(arm, x, halvings - 1, channels),
    )


def _residual(g: _Graph, x: str, channels: int) -> str:
    return g.op("Add", g.conv(g.conv(x, channels, channels), channels, channels), x)


def _kept(x: str) -> Callable[[_Graph], str]:
    return lambda arm: arm.identity(x)


def _model(name: str, body: Callable[[_Graph, str], str]) -> onnx.ModelProto:
    """image: float32 (n, 3, h, w); logits: float32 (n, CLASSES)."""
    weights: dict[str, np.ndarray] = {}
    graph = _Graph(np.random.default_rng(0), weights)
    result = body(graph, "image")
    values = (("image", ["n", 3, "h", "w"]), (result, ["n", CLASSES]))
    inputs, outputs = (
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, dims)] for value, dims in values
    )
    tensors = [numpy_helper.from_array(array, key) for key, array in weights.items()]
    whole = helper.make_graph(graph.nodes, name, inputs, outputs, tensors)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


MODELS = {"skipnet": skipnet, "blockdrop": blockdrop, "ranet": ranet}
