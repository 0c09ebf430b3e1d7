"""Two products around a softmax become one kernel, with what lies between and around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import tvm
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from tvm import relax, tirx
from tvm.relax import op as R

import tvm_sod2
from tests.passes.rewriting import rng
from tvm_sod2.passes.fuse_attention import fuse_attention
from tvm_sod2.schedules.traits import Traits, host_target

TRAITS = Traits.from_target(host_target())
HEADS, DEPTH = 3, 10
Build = Callable[..., Any]


class Input(NamedTuple):
    dims: tuple[Any, ...]
    dtype: str = "float32"


def network(build: Build, inputs: dict[str, Input]) -> tvm.IRModule:
    """`build` gets a function that binds a value, and the inputs in order."""
    symbols = {name: tirx.Var(name, "int64") for name in "bstd"}
    params = []
    for name, (dims, dtype) in inputs.items():
        shape = [symbols.get(dim, dim) for dim in dims]
        params.append(relax.Var(name, relax.TensorType(shape, dtype)))
    bb = relax.BlockBuilder()
    with bb.function("main", params):
        with bb.dataflow():
            made = build(bb.emit, *params)
            outputs = made if isinstance(made, tuple) else (made,)
            results = [bb.emit_output(value) for value in outputs]
        bb.emit_func_output(results[0] if len(results) == 1 else relax.Tuple(results))
    return bb.get()


def const(value: Any) -> Any:
    return relax.const(value, "float32")


def softmax(x: np.ndarray) -> np.ndarray:
    x = x.astype("float64")
    with np.errstate(invalid="ignore"):
        power = np.exp(x - x.max(-1, keepdims=True, initial=-np.inf))
        return power / power.sum(-1, keepdims=True)


def split(emit: Any, x: Any) -> Any:
    """(b, s, heads * depth) as (b, heads, s, depth)."""
    b, s, _ = x.ty.shape.values
    return emit(R.permute_dims(emit(R.reshape(x, (b, s, HEADS, DEPTH))), [0, 2, 1, 3]))


def split_array(x: np.ndarray) -> np.ndarray:
    return x.reshape(*x.shape[:2], HEADS, DEPTH).transpose(0, 2, 1, 3).astype("float64")


def exported(middle: Build) -> Build:
    """As exporters write it, with heads split and merged; `middle` makes scores of the product."""

    def build(emit: Any, q: Any, k: Any, v: Any, *more: Any) -> Any:
        q, k, v = (split(emit, x) for x in (q, k, v))
        q = emit(R.multiply(q, const(0.5)))
        scores = emit(R.matmul(q, emit(R.permute_dims(k, [0, 1, 3, 2]))))
        weights = emit(R.nn.softmax(middle(emit, scores, *more), axis=-1))
        y = emit(R.permute_dims(emit(R.matmul(weights, v)), [0, 2, 1, 3]))
        b, s, *_ = y.ty.shape.values
        return emit(R.reshape(y, (b, s, HEADS * DEPTH)))

    return build


def where(emit: Any, scores: Any, mask: Any) -> Any:
    return emit(R.where(mask, scores, const(-np.inf)))


# What is done to the scores: in Relax, in NumPy, and the mask's type.
MIDDLES: dict[str, tuple[Build, Build, Any]] = {
    "scale": (lambda emit, s: emit(R.divide(s, const(3.0))), lambda s: s / 3, None),
    "mask of keys": (
        lambda emit, s, m: emit(R.add(emit(R.multiply(s, const(0.3))), m)),
        lambda s, m: s * 0.3 + m,
        Input(("b", 1, 1, "t")),
    ),
    "mask of scores": (lambda emit, s, m: emit(R.add(m, s)), lambda s, m: m + s, Input(("s", "t"))),
    "choice": (where, lambda s, m: np.where(m, s, -np.inf), Input(("b", 1, "s", "t"), "bool")),
    "soft cap": (
        lambda emit, s, m: emit(R.subtract(emit(R.tanh(emit(R.multiply(s, const(0.1))))), m)),
        lambda s, m: np.tanh(s * 0.1) - m,
        Input((HEADS, 1, 1)),
    ),
}


@pytest.mark.parametrize("name", MIDDLES)
def test_attention_is_one_kernel(name: str) -> None:
    middle, numbers, mask = MIDDLES[name]
    inputs = {x: Input(("b", "s" if x == "q" else "t", HEADS * DEPTH)) for x in "qkv"}
    inputs |= {} if mask is None else {"mask": mask}
    mod = network(exported(middle), inputs)
    fused = fuse_attention(TRAITS)(mod)
    relax.analysis.well_formed(fused)
    expected = ["relax.reshape"] * 3 + ["relax.call_tir", "relax.reshape"]
    assert operators(fused) == expected
    run = relax.VirtualMachine(tvm_sod2.build(mod), tvm.cpu())["main"]
    for b, s, t in ((1, 1, 1), (2, 7, 5), (1, 40, 131), (1, 3, 0)):
        sizes = {"b": b, "s": s, "t": t}
        arrays = []
        for dims, dtype in inputs.values():
            array = rng.normal(size=[sizes.get(dim, dim) for dim in dims])
            arrays.append(array > -0.5 if dtype == "bool" else array.astype("float32"))
        q, k, v, *more = arrays
        scores = (split_array(q) / 2) @ split_array(k).swapaxes(-1, -2)
        y = softmax(numbers(scores, *more)) @ split_array(v)
        found = run(*map(tvm.runtime.tensor, arrays)).numpy()
        y = y.transpose(0, 2, 1, 3).reshape(b, s, HEADS * DEPTH)
        np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5)


def test_operands_are_read_where_they_lie() -> None:
    """One tensor (batch, steps, 3, heads, depth) holds all operands, as in vision transformers."""

    def build(emit: Any, x: Any) -> Any:
        b, s, *_ = x.ty.shape.values
        x = emit(R.permute_dims(emit(R.reshape(x, (b, s, 3, HEADS, DEPTH))), [2, 0, 3, 1, 4]))
        q, k, v = (
            emit(R.squeeze(emit(R.strided_slice(x, [0], [n], [n + 1])), [0])) for n in range(3)
        )
        scores = emit(R.matmul(q, emit(R.permute_dims(k, [0, 1, 3, 2]))))
        return emit(R.matmul(emit(R.nn.softmax(scores, axis=3)), v))

    mod = network(build, {"x": Input(("b", "s", 3 * HEADS * DEPTH))})
    fused = fuse_attention(TRAITS)(mod)
    assert operators(fused) == ["relax.reshape", "relax.call_tir"]
    run = relax.VirtualMachine(tvm_sod2.build(mod), tvm.cpu())["main"]
    for b, s in ((2, 5), (1, 33)):
        x = rng.normal(size=(b, s, 3 * HEADS * DEPTH)).astype("float32")
        q, k, v = x.reshape(b, s, 3, HEADS, DEPTH).transpose(2, 0, 3, 1, 4).astype("float64")
        expected = softmax(q @ k.swapaxes(-1, -2)) @ v
        found = run(tvm.runtime.tensor(x)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_groups_of_heads_share_their_keys(groups: int) -> None:
    """Keys broadcast, or are repeated for each head of a group; no copy of them is made."""
    heads = groups * HEADS

    def repeated(emit: Any, x: Any) -> Any:
        b, _, t, d = x.ty.shape.values
        if groups == 1:
            return x
        x = emit(R.broadcast_to(emit(R.expand_dims(x, [2])), (b, groups, HEADS, t, d)))
        return emit(R.reshape(x, (b, heads, t, d)))

    def build(emit: Any, q: Any, k: Any, v: Any) -> Any:
        k, v = repeated(emit, k), repeated(emit, v)
        scores = emit(R.matmul(q, emit(R.permute_dims(k, [0, 1, 3, 2]))))
        return emit(R.matmul(emit(R.nn.softmax(scores, axis=-1)), v))

    shared = Input(("b", groups, "t", DEPTH))
    mod = network(build, {"q": Input(("b", heads, "s", DEPTH)), "k": shared, "v": shared})
    assert operators(fuse_attention(TRAITS)(mod)) == ["relax.call_tir"]
    run = relax.VirtualMachine(tvm_sod2.build(mod), tvm.cpu())["main"]
    q = rng.normal(size=(2, heads, 6, DEPTH)).astype("float32")
    k, v = (rng.normal(size=(2, groups, 11, DEPTH)).astype("float32") for _ in range(2))
    found = run(*map(tvm.runtime.tensor, (q, k, v))).numpy()
    wide = (np.repeat(x, HEADS, axis=1).astype("float64") for x in (k, v))
    k, v = wide if groups > 1 else (k.astype("float64"), v)
    expected = softmax(q.astype("float64") @ k.swapaxes(-1, -2)) @ v
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [0, 1])
def test_the_operator_of_onnx_is_one_kernel(causal: int) -> None:
    """With rows that a mask hides whole: their result is zero, not NaN."""
    node = helper.make_node("Attention", ["q", "k", "v", "m"], ["y"], is_causal=causal)
    dims = {"q": ["b", 4, "s", 8], "k": ["b", 2, "t", 8], "v": ["b", 2, "t", 6], "m": ["s", "t"]}
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.BOOL if name == "m" else 1, shape)
        for name, shape in dims.items()
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "attention", inputs, [output])
    opset = [helper.make_opsetid("", 23)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=11)
    executable = tvm_sod2.build(tvm_sod2.from_onnx(model))
    assert "attention" in executable.as_text() and "softmax" not in executable.as_text()
    run = relax.VirtualMachine(executable, tvm.cpu())["main"]
    session = ReferenceEvaluator(model)
    for b, s, t in ((2, 5, 9), (1, 37, 20)):
        shapes = ((b, 4, s, 8), (b, 2, t, 8), (b, 2, t, 6))
        q, k, v = (rng.normal(size=shape).astype("float32") for shape in shapes)
        mask = rng.random((s, t)) > 0.4
        mask[2] = False
        (expected,) = session.run(None, {"q": q, "k": k, "v": v, "m": mask})
        found = run(*map(tvm.runtime.tensor, (q, k, v, mask))).numpy()
        assert not np.isnan(found).any()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [None, "TopLeft", "BottomRight"])
def test_the_operator_of_relax_is_the_same_kernel(causal: str | None) -> None:
    def build(emit: Any, q: Any, k: Any, v: Any, bias: Any) -> Any:
        return emit(R.nn.attention(q, k, v, bias, scale=0.4, causal_mask=causal))

    rows, keys = ("b", "s", HEADS, DEPTH), ("b", "t", HEADS, DEPTH)
    shapes = {"q": rows, "k": keys, "v": keys, "bias": (1, HEADS, "s", "t")}
    mod = network(build, {name: Input(dims) for name, dims in shapes.items()})
    assert operators(fuse_attention(TRAITS)(mod)) == ["relax.call_tir"]
    run = relax.VirtualMachine(tvm_sod2.build(mod), tvm.cpu())["main"]
    for b, s, t in ((2, 3, 5), (1, 34, 34)):
        sizes = {"b": b, "s": s, "t": t}
        arrays = [
            rng.normal(size=[sizes.get(dim, dim) for dim in dims]).astype("float32")
            for dims in shapes.values()
        ]
        q, k, v = (x.swapaxes(1, 2).astype("float64") for x in arrays[:3])
        scores = q @ k.swapaxes(-1, -2) * 0.4 + arrays[3]
        if causal:
            seen = np.tri(s, t, t - s if causal == "BottomRight" else 0, dtype=bool)
            scores = np.where(seen, scores, -np.inf)
        found = run(*map(tvm.runtime.tensor, arrays)).numpy()
        expected = (softmax(scores) @ v).swapaxes(1, 2)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def simple(emit: Any, q: Any, k: Any, v: Any, axis: int = -1) -> tuple[Any, Any, Any]:
    scores = emit(R.matmul(q, k))
    weights = emit(R.nn.softmax(scores, axis=axis))
    return scores, weights, emit(R.matmul(weights, v))


def broadened(emit: Any, q: Any, k: Any, v: Any) -> Any:
    scores = emit(R.add(emit(R.matmul(q, k)), const(np.zeros((2, 1, 1)))))
    return emit(R.matmul(emit(R.nn.softmax(scores, axis=-1)), v))


def product(emit: Any, q: Any, k: Any, v: Any) -> Any:
    return simple(emit, q, k, v)[2]


def other_mask(emit: Any, q: Any, k: Any, v: Any, m: Any, n: Any) -> Any:
    """Other probabilities are zeroed than scores are hidden: the rest does not add up to one."""
    scores = emit(R.where(m, emit(R.matmul(q, k)), const(-np.inf)))
    weights = emit(R.nn.softmax(scores, axis=-1))
    return emit(R.matmul(emit(R.where(n, weights, const(0.0))), v))


def wanted_without_nan(emit: Any, q: Any, k: Any, v: Any) -> Any:
    weights = emit(R.nn.softmax(emit(R.matmul(q, k)), axis=-1))
    weights = emit(R.where(emit(R.isnan(weights)), const(0.0), weights))
    return weights, emit(R.matmul(weights, v))


INPUTS = {"q": Input(("s", DEPTH)), "k": Input((DEPTH, "t")), "v": Input(("t", 4))}
REFUSED: dict[str, tuple[Build, dict[str, Input]]] = {
    "scores are wanted": (lambda emit, *x: simple(emit, *x)[::2], INPUTS),
    "weights are wanted": (lambda emit, *x: simple(emit, *x)[1:], INPUTS),
    "a head of any size": (product, INPUTS | {"q": Input(("s", "d")), "k": Input(("d", "t"))}),
    "softmax over rows": (lambda emit, *x: simple(emit, *x, axis=0)[2], INPUTS),
    "half precision": (product, {name: Input(x.dims, "float16") for name, x in INPUTS.items()}),
    "a mask that makes more scores": (broadened, INPUTS),
    "other probabilities are zero": (
        other_mask,
        INPUTS | {name: Input(("s", "t"), "bool") for name in "mn"},
    ),
    "weights are wanted without NaN": (wanted_without_nan, INPUTS),
    "keys as a product of one row wants them": (product, INPUTS | {"q": Input((1, DEPTH))}),
}


def operators(mod: tvm.IRModule) -> list[str]:
    bindings = [b for block in mod["main"].body.blocks for b in block.bindings]
    return [b.value.op.name for b in bindings if isinstance(b.value, relax.Call)]


@pytest.mark.parametrize("name", REFUSED)
def test_what_stays(name: str) -> None:
    build, inputs = REFUSED[name]
    names = operators(fuse_attention(TRAITS)(network(build, inputs)))
    assert names.count("relax.matmul") == 2 and "relax.call_tir" not in names
