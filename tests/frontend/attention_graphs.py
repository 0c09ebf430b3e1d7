"""Attention as exporters of well-known transformers write it, each as a small ONNX model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HEADS, SIZE = 4, 8
WIDTH = HEADS * SIZE
LOWEST = np.finfo("float32").min


@dataclass
class Graph:
    """Writes nodes top to bottom; a number or an array among the inputs becomes a constant."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    rng: Any = field(default_factory=lambda: np.random.default_rng(0))

    def input(self, name: str, dims: Sequence[Any], dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, dims))
        return name

    def const(self, value: Any) -> str:
        array = np.asarray(value)
        array = array.astype("float32") if array.dtype == np.float64 else array
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def __call__(self, op: str, *given: Any, count: int = 1, **attrs: Any) -> Any:
        names = [x if isinstance(x, str) else self.const(x) for x in given]
        outs = [f"{op}_{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(op, names, outs, **attrs))
        return outs[0] if count == 1 else outs

    def linear(self, x: str, outs: int = WIDTH, ins: int = WIDTH) -> str:
        weight = self.rng.normal(size=(ins, outs)) / np.sqrt(ins)
        return self("Add", self("MatMul", x, weight), self.rng.normal(size=outs))

    def dim(self, x: str, axis: int) -> str:
        """A dim as a vector of one integer, as exporters read it."""
        taken = self("Gather", self("Shape", x), np.array(axis), axis=0)
        return self("Unsqueeze", taken, np.array([0]))

    def heads(self, x: str, heads: int = HEADS, size: int = SIZE) -> str:
        """(b, s, heads * size) as (b, heads, s, size), the dims read from the tensor."""
        shape = self("Concat", self.dim(x, 0), self.dim(x, 1), [heads], [size], axis=0)
        return self("Transpose", self("Reshape", x, shape), perm=[0, 2, 1, 3])

    def merged(self, x: str) -> str:
        y = self("Transpose", x, perm=[0, 2, 1, 3])
        shape = self("Concat", self.dim(y, 0), self.dim(y, 1), [WIDTH], axis=0)
        return self("Reshape", y, shape)

    def model(self, *outputs: str) -> onnx.ModelProto:
        outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "attention", self.inputs, outs, self.constants)
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=9)


def turned(g: Graph, k: str) -> str:
    return g("Transpose", k, perm=[0, 1, 3, 2])


def bert() -> onnx.ModelProto:
    """Scores are divided, the mask is of integers."""
    g = Graph()
    x, mask = g.input("x", ["b", "s", WIDTH]), g.input("mask", ["b", "s"], TensorProto.INT64)
    wide = g("Unsqueeze", g("Unsqueeze", mask, np.array([1])), np.array([2]))
    hidden = g("Mul", g("Sub", 1.0, g("Cast", wide, to=1)), LOWEST)
    q, k, v = (g.heads(g.linear(x)) for _ in range(3))
    scores = g("Add", g("Div", g("MatMul", q, turned(g, k)), np.sqrt(SIZE)), hidden)
    return g.model(g.merged(g("MatMul", g("Softmax", scores, axis=-1), v)))


def gpt2() -> onnx.ModelProto:
    """A buffer of a triangle is cut to the lengths; keys and values of before are joined."""
    g = Graph()
    x = g.input("x", ["b", "s", WIDTH])
    past = [g.input(name, ["b", HEADS, "p", SIZE]) for name in ("past_k", "past_v")]
    projected = g("Split", g.linear(x, 3 * WIDTH), np.array([WIDTH] * 3), axis=2, count=3)
    q, k, v = map(g.heads, projected)
    k, v = (g("Concat", old, new, axis=2) for old, new in zip(past, (k, v), strict=True))
    scores = g("Div", g("MatMul", q, turned(g, k)), np.sqrt(SIZE))
    end, count = g.dim(k, 2), g.dim(q, 2)
    triangle = np.tri(64, dtype=bool)[None, None]
    rows = g("Slice", triangle, g("Sub", end, count), end, np.array([2]))
    cut = g("Slice", rows, np.array([0]), end, np.array([3]))
    weights = g("Softmax", g("Where", cut, scores, LOWEST), axis=-1)
    return g.model(g.merged(g("MatMul", weights, v)), k, v)


def vit() -> onnx.ModelProto:
    """One tensor of all operands, scaled queries, a fixed number of patches."""
    g = Graph()
    x = g.input("x", ["b", 17, WIDTH])
    shape = np.array([-1, 17, 3, HEADS, SIZE])
    whole = g("Transpose", g("Reshape", g.linear(x, 3 * WIDTH), shape), perm=[2, 0, 3, 1, 4])
    q, k, v = (g("Gather", whole, np.array(n), axis=0) for n in range(3))
    scores = g("MatMul", g("Mul", q, SIZE**-0.5), turned(g, k))
    y = g("Transpose", g("MatMul", g("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    return g.model(g("Reshape", y, np.array([-1, 17, WIDTH])))


def t5() -> onnx.ModelProto:
    """No scale; a bias of relative places is added with the mask."""
    g = Graph()
    x, mask = g.input("x", ["b", "s", WIDTH]), g.input("mask", ["b", "s"])
    places = g("Range", np.array(0), g("Squeeze", g.dim(x, 1), np.array([0])), np.array(1))
    column = g("Unsqueeze", places, np.array([1]))
    apart = g("Sub", g("Unsqueeze", places, np.array([0])), column)
    bucket = g("Add", g("Min", g("Max", apart, np.array(-7)), np.array(7)), np.array(7))
    bias = g("Gather", g.rng.normal(size=(15, HEADS)), bucket, axis=0)
    bias = g("Unsqueeze", g("Transpose", bias, perm=[2, 0, 1]), np.array([0]))
    wide = g("Unsqueeze", g("Unsqueeze", mask, np.array([1])), np.array([2]))
    bias = g("Add", bias, g("Mul", g("Sub", 1.0, wide), LOWEST))
    q, k, v = (g.heads(g.linear(x)) for _ in range(3))
    scores = g("Add", g("MatMul", q, turned(g, k)), bias)
    return g.model(g.merged(g("MatMul", g("Softmax", scores, axis=-1), v)))


def whisper() -> onnx.ModelProto:
    """Heads join the batch for the products and leave it for the mask."""
    g = Graph()
    x, other = g.input("x", ["b", "s", WIDTH]), g.input("other", ["b", "t", WIDTH])
    mask = g.input("mask", ["b", 1, "s", "t"])
    q, k, v = g("Mul", g.linear(x), SIZE**-0.5), g.linear(other), g.linear(other)
    batch, rows, keys = g.dim(x, 0), g.dim(x, 1), g.dim(other, 1)
    joined = g("Mul", batch, np.array([HEADS]))
    q, k, v = (
        g("Reshape", g.heads(y), g("Concat", joined, [-1], [SIZE], axis=0)) for y in (q, k, v)
    )
    scores = g("MatMul", q, g("Transpose", k, perm=[0, 2, 1]))
    apart = g("Concat", batch, [HEADS], rows, keys, axis=0)
    masked = g("Add", g("Reshape", scores, apart), mask)
    masked = g("Reshape", masked, g("Concat", joined, rows, keys, axis=0))
    y = g("MatMul", g("Softmax", masked, axis=-1), v)
    y = g("Reshape", y, g("Concat", batch, [HEADS], rows, [SIZE], axis=0))
    return g.model(g.merged(y))


def rotated(g: Graph, x: str, cos: str, sin: str) -> str:
    half = SIZE // 2
    low = g("Slice", x, np.array([0]), np.array([half]), np.array([3]))
    high = g("Slice", x, np.array([half]), np.array([SIZE]), np.array([3]))
    other = g("Concat", g("Neg", high), low, axis=-1)
    return g("Add", g("Mul", x, cos), g("Mul", other, sin))


def rms_norm(g: Graph, x: str) -> str:
    mean = g("ReduceMean", g("Pow", x, 2.0), axes=[-1], keepdims=1)
    root = g("Sqrt", g("Add", mean, 1e-6))
    return g("Mul", 1 + 0.1 * g.rng.normal(size=SIZE), g("Mul", x, g("Div", 1.0, root)))


def llama(norm: bool = False) -> onnx.ModelProto:
    """Rotated queries and keys, groups of heads, a causal mask joined with that for padding."""
    g, groups = Graph(), 2
    x, mask = g.input("x", ["b", "s", WIDTH]), g.input("mask", ["b", "s"], TensorProto.INT64)
    length = g("Squeeze", g.dim(x, 1), np.array([0]))
    places = g("Range", np.array(0), length, np.array(1))
    angles = g("Mul", g("Unsqueeze", g("Cast", places, to=1), np.array([1])), np.ones((1, SIZE)))
    angles = g("Unsqueeze", angles, np.array([0, 1]))
    cos, sin = g("Cos", angles), g("Sin", angles)
    q, k, v = g.heads(g.linear(x)), g.linear(x, groups * SIZE), g.linear(x, groups * SIZE)
    k, v = (g.heads(y, groups) for y in (k, v))
    if norm:
        q, k = rms_norm(g, q), rms_norm(g, k)
    q, k = (rotated(g, y, cos, sin) for y in (q, k))

    def repeated(y: str) -> str:
        batch, rows = g.dim(y, 0), g.dim(y, 2)
        many = g("Concat", batch, [groups], [HEADS // groups], rows, [SIZE], axis=0)
        wide = g("Expand", g("Unsqueeze", y, np.array([2])), many)
        return g("Reshape", wide, g("Concat", batch, [HEADS], rows, [SIZE], axis=0))

    scores = g("Mul", g("MatMul", q, turned(g, repeated(k))), SIZE**-0.5)
    full = g("Expand", LOWEST, g("Concat", g.dim(x, 1), g.dim(x, 1), axis=0))
    causal = g("Unsqueeze", g("Trilu", full, np.array(1), upper=1), np.array([0, 1]))
    shown = g("Unsqueeze", g("Unsqueeze", mask, np.array([1])), np.array([2]))
    padded = g("Add", causal, g("Cast", shown, to=1))
    causal = g("Where", g("Equal", padded, 0.0), LOWEST, causal)
    weights = g("Cast", g("Softmax", g("Cast", g("Add", scores, causal), to=1), axis=-1), to=1)
    return g.model(g.merged(g("MatMul", weights, repeated(v))))


def sdpa() -> onnx.ModelProto:
    """scaled_dot_product_attention with is_causal, scaled by a root on either side."""
    g = Graph()
    q, k, v = (g.input(name, ["b", HEADS, "s", SIZE]) for name in "qkv")
    last = g("Cast", g("Slice", g("Shape", q), np.array([-1]), np.array([2**62])), to=1)
    root = g("Sqrt", g("Div", 1.0, g("Sqrt", last)))
    rows, keys = g.dim(q, 2), g.dim(k, 2)
    one = numpy_helper.from_array(np.ones(1, "float32"))
    ones = g("ConstantOfShape", g("Concat", rows, keys, axis=0), value=one)
    triangle = g("Trilu", ones, upper=0)
    mask = g("Where", g("Equal", triangle, 0.0), -np.inf, 0.0)
    scores = g("MatMul", g("Mul", q, root), g("Mul", turned(g, k), root))
    weights = g("Softmax", g("Add", scores, mask), axis=-1)
    weights = g("Where", g("IsNaN", weights), 0.0, weights)
    return g.model(g("MatMul", weights, v))


def boolean() -> onnx.ModelProto:
    """A mask of booleans hides scores; rows that it hides whole weigh nothing."""
    g = Graph()
    q, k, v = (g.input(name, ["b", HEADS, "s", SIZE]) for name in "qkv")
    mask = g.input("mask", ["b", 1, "s", "s"], TensorProto.BOOL)
    scores = g("Mul", g("MatMul", q, turned(g, k)), SIZE**-0.5)
    weights = g("Softmax", g("Where", mask, scores, LOWEST), axis=-1)
    return g.model(g("MatMul", g("Where", mask, weights, 0.0), v))


def einsum() -> onnx.ModelProto:
    """Products as Einsum, heads beside the steps."""
    g = Graph()
    q, k, v = (g.input(name, ["b", "s", HEADS, SIZE]) for name in "qkv")
    scores = g("Einsum", q, k, equation="bihd,bjhd->bhij")
    weights = g("Softmax", g("Mul", scores, SIZE**-0.5), axis=-1)
    return g.model(g("Einsum", weights, v, equation="bhij,bjhd->bihd"))


@dataclass(frozen=True)
class Exported:
    """A model, how many of its kernels are attention, and whether it is causal."""

    make: Callable[[], onnx.ModelProto]
    causal: bool = False


MODELS = {
    "bert": Exported(bert),
    "gpt2": Exported(gpt2, causal=True),
    "vit": Exported(vit),
    "t5": Exported(t5),
    "whisper": Exported(whisper),
    "llama": Exported(llama, causal=True),
    "llama with norms": Exported(lambda: llama(norm=True), causal=True),
    "sdpa": Exported(sdpa, causal=True),
    "boolean": Exported(boolean),
    "einsum": Exported(einsum),
}
