"""Shape-giving inputs and execution-determined results, built by the whole pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import tvm
from peer import check, parsed
from tvm import relax

import tvm_sod2
from tvm_sod2.errors import ImportModelError

Feed = dict[str, np.ndarray]


class Case(NamedTuple):
    """A graph, and inputs at a size from 0, 1 and primes."""

    name: str
    text: str
    feed: Callable[[int, np.random.Generator], Feed]


def _floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(-3, 3, shape).astype("float32")


def _ints(*values: int) -> np.ndarray:
    return np.asarray(values, "int64")


CASES = [
    Case(
        "nonzero",
        "(float[n,m] x) => (int64[2,k] y, float[k] z)"
        "{ p = Relu(x) y = NonZero(p) t = Transpose(y) z = GatherND(x, t) }",
        lambda n, rng: {"x": _floats(rng, n, 5)},
    ),
    Case(
        "compress",
        "(float[n,3] x, bool[n] c) => (float[k,3] y) { t = Compress<axis=0>(x, c) y = Neg(t) }",
        lambda n, rng: {"x": _floats(rng, n, 3), "c": rng.random(n) > 0.5},
    ),
    Case(
        "unique",
        "(int64[n] x) => (int64[k] y, int64[k] i, int64[n] v, int64[k] c)"
        "{ y, i, v, c = Unique<sorted=0>(x) }",
        lambda n, rng: {"x": rng.integers(0, 4, n)},
    ),
    Case(
        "unique_rows",
        "(float[n,2] x) => (float[k,2] y, int64[k] i, int64[n] v, int64[k] c)"
        "{ y, i, v, c = Unique<axis=0>(x) }",
        lambda n, rng: {"x": rng.integers(0, 2, (n, 2)).astype("float32")},
    ),
    Case(
        "top_k",
        "(float[n,m] x, int64[1] k) => (float[n,j] v, int64[n,j] i) { v, i = TopK(x, k) }",
        lambda n, rng: {"x": _floats(rng, 3, n), "k": _ints(max(n // 2, min(n, 1)))},
    ),
    Case(
        "reduce_axes",
        "(float[n,m,2] x, int64[2] a) => (float[j] y, float[p,q,r] z)"
        "{ y = ReduceSum<keepdims=0>(x, a) z = ReduceMax(x, a) }",
        lambda n, rng: {"x": _floats(rng, n + 1, 3, 2), "a": _ints(-1, n % 2)},
    ),
    Case(
        "cumsum_axis",
        "(float[n,m] x, int64 a) => (float[n,m] y) { y = CumSum<reverse=1>(x, a) }",
        lambda n, rng: {"x": _floats(rng, n, 3), "a": np.asarray(-1 - n % 2, "int64")},
    ),
    Case(
        "slice_everything",
        "(float[n,m] x, int64[2] s, int64[2] e, int64[2] a, int64[2] d) => (float[p,q] y)"
        "{ y = Slice(x, s, e, a, d) }",
        lambda n, rng: {
            "x": _floats(rng, n, 7),
            "s": _ints(-1, -100),
            "e": _ints(-100, 100),
            "a": _ints(-1, 0),
            "d": _ints(-2, 1 + n % 3),
        },
    ),
    Case(
        "squeeze_unsqueeze",
        "(float[n,1,m] x, int64[1] a, int64[2] b) => (float[n,m] y, float[p,q,r,s,t] z)"
        "{ y = Squeeze(x, a) z = Unsqueeze(x, b) }",
        lambda n, rng: {"x": _floats(rng, n, 1, 3), "a": _ints(1), "b": _ints(-1, n % 2)},
    ),
    Case(
        "split_pad_tile",
        "(float[n,m] x, int64[2] s, int64[2] p, int64[1] a, int64[2] r)"
        " => (float[u,m] y, float[v,m] z, float[w,m] q, float[i,j] t)"
        "{ y, z = Split(x, s) q = Pad(x, p, , a) t = Tile(x, r) }",
        lambda n, rng: {
            "x": _floats(rng, n, 3),
            "s": _ints(n // 2, n - n // 2),
            "p": _ints(2, 1),
            "a": _ints(0),
            "r": _ints(2, n % 3),
        },
    ),
]


def _model(text: str) -> onnx.ModelProto:
    head = '<ir_version: 8, opset_import: ["" : 18]> g'
    return onnx.parser.parse_model(head + text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_agrees_with_onnx_runtime(case: Case) -> None:
    model = _model(case.text)
    executable = tvm_sod2.build(tvm_sod2.from_onnx(model))
    run = relax.VirtualMachine(executable, tvm.cpu())["main"]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for n in (1, 2, 13):
        feed = case.feed(n, np.random.default_rng(n))
        expected = session.run(None, feed)
        found = run(*(tvm.runtime.tensor(value) for value in feed.values()))
        outputs = [found] if len(expected) == 1 else list(found)
        for mine, theirs in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs, 1e-5, 1e-5, err_msg=f"n = {n}")


_HITS = "z = NonZero(w) s = Shape<start=1>(z)"


@pytest.mark.parametrize(
    "text",
    [
        f"{{ {_HITS} t = Concat<axis=0>(s, open) r = Reshape(x, t) y = Relu(r) }}",
        f"{{ {_HITS} u = Shape<start=1>(x) t = Concat<axis=0>(s, u) y = Reshape(x, t) }}",
        f"{{ {_HITS} t = Concat<axis=0>(open, s) r = Reshape(x, t) y = Add(r, r) }}",
        "{ a = ReduceMax<keepdims=0>(w) c = Cast<to=9>(a) y = If(c)<"
        "then_branch = one () => (float[i,j] p) {"
        "  k = Shape(w) t = Concat<axis=0>(k, open) p = Reshape(x, t) },"
        "else_branch = two () => (float[i,j] q) {"
        "  k = Size(w) b = Squeeze(k) f = Range(b, b, b) e = Shape(f)"
        "  t = Concat<axis=0>(e, open) q = Reshape(x, t) }> }",
    ],
    ids=["count_and_rest", "count_and_dim", "rest_and_count", "in_arms"],
)
def test_a_count_of_0_copies_the_dim_in_a_reshape(text: str) -> None:
    head = "(float[n,m] x, float[k] w) => (float[a,b] y) <int64[1] open = {-1}>"
    x = np.arange(12, dtype="float32")
    feeds = [
        {"x": x.reshape(3, 4), "w": np.eye(3, dtype="float32")[0] * 0},
        {"x": x.reshape(1, 12), "w": np.zeros(1, "float32")},
        {"x": x.reshape(3, 4), "w": np.ones(3, "float32")},
    ]
    check(parsed(head + text), feeds)


def test_a_shape_of_fewer_elements_is_refused_where_the_run_decides_it() -> None:
    text = "(float[n,m] x, float[k] w) => (float[a,b] y) <int64[1] open = {-1}>"
    model = parsed(f"{text} {{ {_HITS} t = Concat<axis=0>(s, open) y = Reshape(x, t) }}")
    run = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(model)), tvm.cpu())["main"]
    x = np.ones((3, 4), "float32")
    assert run(tvm.runtime.tensor(x), tvm.runtime.tensor(x[0])).shape == (4, 3)
    five = tvm.runtime.tensor(np.ones(5, "float32"))
    with pytest.raises(ValueError, match=r"y \(Reshape\): number of elements in the new shape is"):
        run(tvm.runtime.tensor(x), five)


def test_boxes_are_suppressed_with_all_limits_at_run_time() -> None:
    model = _model(
        "(float[b,n,4] x, float[b,c,n] s, int64[1] k, float[1] i, float[1] t) => (int64[m,3] y)"
        "{ y = NonMaxSuppression<center_point_box=1>(x, s, k, i, t) }"
    )
    executable = tvm_sod2.build(tvm_sod2.from_onnx(model))
    run = relax.VirtualMachine(executable, tvm.cpu())["main"]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for n, limit, overlap, threshold in ((1, 3, 0.5, 0.0), (7, 2, 0.3, 0.4), (50, 9, 0.1, 0.2)):
        rng = np.random.default_rng(n)
        feed = {
            "x": rng.uniform(1, 4, (2, n, 4)).astype("float32"),
            "s": rng.random((2, 3, n)).astype("float32"),
            "k": _ints(limit),
            "i": np.asarray([overlap], "float32"),
            "t": np.asarray([threshold], "float32"),
        }
        found = run(*(tvm.runtime.tensor(value) for value in feed.values()))
        np.testing.assert_array_equal(found.numpy(), session.run(None, feed)[0])


def test_operators_defined_by_others_are_imported_by_their_definition() -> None:
    model = _model("(float[n,4] x, int64[n] t) => (float y) { y = SoftmaxCrossEntropyLoss(x, t) }")
    executable = tvm_sod2.build(tvm_sod2.from_onnx(model))
    run = relax.VirtualMachine(executable, tvm.cpu())["main"]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for n in (1, 5):
        rng = np.random.default_rng(n)
        feed = {"x": _floats(rng, n, 4), "t": rng.integers(0, 4, n)}
        found = run(*(tvm.runtime.tensor(value) for value in feed.values()))
        np.testing.assert_allclose(found.numpy(), session.run(None, feed)[0], 1e-5)


def test_bits_of_bool_are_refused() -> None:
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("BitCast", ["x"], ["y"], to=onnx.TensorProto.UINT8)],
            "g",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.BOOL, [3])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.UINT8, [3])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 26)],
    )
    with pytest.raises(ImportModelError, match=r"y \(BitCast\): the bits of bool"):
        tvm_sod2.from_onnx(model)
