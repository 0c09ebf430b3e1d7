"""Attention on projected heads of com.microsoft against ONNX Runtime: caches, rotations, groups."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from peer import Feed, check, parsed

import tvm_sod2
from tvm_sod2.errors import ImportModelError

ROWS = 2
LENGTHS = (1, 2, 7)


def _floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(-2, 2, shape).astype("float32")


def _check(model: onnx.ModelProto, feeds: list[Feed]) -> None:
    check(model, feeds, 1e-3, 1e-4)


QKV = "float[n,s,8] q, float[n,t,8] k, float[n,t,12] v"


def _qkv(rng: np.random.Generator, queries: int, keys: int) -> Feed:
    return {
        "q": _floats(rng, ROWS, queries, 8),
        "k": _floats(rng, ROWS, keys, 8),
        "v": _floats(rng, ROWS, keys, 12),
    }


MASKS = {
    "none": ("", lambda rng, s, t: None),
    "lengths": ("int32[n] m", lambda rng, s, t: rng.integers(1, t + 1, ROWS, "int32")),
    "keys": ("int32[n,t] m", lambda rng, s, t: rng.integers(0, 2, (ROWS, t), "int32")),
    "pairs": ("int32[n,s,t] m", lambda rng, s, t: rng.integers(0, 2, (ROWS, s, t), "int32")),
}


@pytest.mark.parametrize(
    ("mask", "attributes"),
    [("none", ""), ("lengths", ", unidirectional = 1"), ("keys", ", scale = 0.2"), ("pairs", "")],
)
def test_heads_of_three_inputs(mask: str, attributes: str) -> None:
    declared, draw = MASKS[mask]
    model = parsed(
        f"({QKV}, float[28] b{', ' + declared if declared else ''}) => (float[n,s,12] y)"
        f"{{ y = com.microsoft.MultiHeadAttention<num_heads = 2{attributes}>"
        f"(q, k, v, b{', m' if declared else ''}) }}"
    )
    feeds = []
    for s, t in (
        ((1, 1), (3, 3), (7, 7)) if "unidirectional" in attributes else ((1, 5), (3, 2), (7, 7))
    ):
        rng = np.random.default_rng(s)
        given = draw(rng, s, t)
        feed = {**_qkv(rng, s, t), "b": _floats(rng, 28)}
        feeds.append(feed if given is None else {**feed, "m": given})
    _check(model, feeds)


def test_heads_with_a_cache_and_a_summand() -> None:
    model = parsed(
        "(float[n,s,8] q, float[n,t,8] k, float[n,t,8] v,"
        " float[i,h,s,u] a, float[n,2,p,4] e, float[n,2,p,4] f)"
        " => (float[n,s,8] y, float[n,2,u,4] g, float[n,2,u,4] h)"
        "{ y, g, h = com.microsoft.MultiHeadAttention<num_heads = 2>(q, k, v, , , a, e, f) }"
    )
    feeds = []
    for length, past in ((1, 4), (3, 1), (2, 5)):
        rng = np.random.default_rng(length)
        feed = {name: _floats(rng, ROWS, length, 8) for name in "qkv"}
        feed["a"] = _floats(rng, 1, 2, length, length + past)
        feed |= {"e": _floats(rng, ROWS, 2, past, 4), "f": _floats(rng, ROWS, 2, past, 4)}
        feeds.append(feed)
    _check(model, feeds)


def test_heads_of_keys_that_were_projected_before() -> None:
    model = parsed(
        "(float[n,s,8] q, float[n,2,t,4] k, float[n,2,t,4] v) => (float[n,s,8] y)"
        "{ y = com.microsoft.MultiHeadAttention<num_heads = 2>(q, k, v) }"
    )
    feeds = []
    for s, t in ((1, 5), (3, 2)):
        rng = np.random.default_rng(s)
        feed = {"q": _floats(rng, ROWS, s, 8)}
        feeds.append({**feed, "k": _floats(rng, ROWS, 2, t, 4), "v": _floats(rng, ROWS, 2, t, 4)})
    _check(model, feeds)


PART = "num_heads = 2, rotary_embedding_dim = 8"


@pytest.mark.parametrize(
    ("declared", "shape", "places", "attributes"),
    [
        ("float[n,s,16]", (16,), "int64[1]", "interleaved = 0"),
        ("float[n,2,s,8]", (2, 8), "int64[n,s]", "interleaved = 1"),
        ("float[n,s,32]", (32,), "int64[n,s]", f"interleaved = 0, {PART}"),
        ("float[n,s,32]", (32,), "int64[n,s]", f"interleaved = 1, {PART}"),
    ],
)
def test_rotary(declared: str, shape: tuple[int, ...], places: str, attributes: str) -> None:
    model = parsed(
        f"({declared} x, {places} p, float[9,4] c, float[9,4] d) => ({declared} y)"
        f"{{ y = com.microsoft.RotaryEmbedding<{attributes}>(x, p, c, d) }}"
    )
    feeds = []
    for length in LENGTHS:
        rng = np.random.default_rng(length)
        dims = (length, *shape) if len(shape) == 1 else (shape[0], length, shape[1])
        place = np.array([2]) if places == "int64[1]" else rng.integers(0, 9, (ROWS, length))
        feed = {"x": _floats(rng, ROWS, *dims), "p": place.astype("int64")}
        feeds.append({**feed, "c": _floats(rng, 9, 4), "d": _floats(rng, 9, 4)})
    _check(model, feeds)


GROUPED = {
    "plain": "",
    "turned": ", do_rotary = 1",
    "turned_interleaved": ", do_rotary = 1, rotary_interleaved = 1",
    "window": ", local_window_size = 2",
    "capped": ", softcap = 1.5, scale = 0.7",
    "smooth": ", smooth_softmax = 1",
}


def _grouped_feed(length: int, past: int, seed: int) -> Feed:
    """Four heads of queries over two of keys. Of two rows the second has one key less; several
    steps behind others are defined for one row."""
    rng = np.random.default_rng(seed)
    rows = 1 if length > 1 and past else ROWS
    last = np.array([length + past - 1, length + past - 1 - (past > 0)], "int32")
    return {
        "q": _floats(rng, rows, length, 64),
        "k": _floats(rng, rows, length, 32),
        "v": _floats(rng, rows, length, 32),
        "e": _floats(rng, rows, 2, past, 16),
        "f": _floats(rng, rows, 2, past, 16),
        "l": last[:rows],
        "u": np.array(length + past, "int32"),
        "c": _floats(rng, 16, 8),
        "d": _floats(rng, 16, 8),
    }


@pytest.mark.parametrize("kind", GROUPED)
def test_groups_of_heads(kind: str) -> None:
    """Prompts and later steps in one build; caches grow by what is new."""
    model = parsed(
        "(float[n,s,64] q, float[n,s,32] k, float[n,s,32] v, float[n,2,p,16] e, float[n,2,p,16] f,"
        " int32[n] l, int32 u, float[16,8] c, float[16,8] d)"
        " => (float[n,s,64] y, float[n,2,t,16] g, float[n,2,t,16] h)"
        "{ y, g, h = com.microsoft.GroupQueryAttention<num_heads = 4, kv_num_heads = 2"
        f"{GROUPED[kind]}>(q, k, v, e, f, l, u{', c, d' if 'rotary' in GROUPED[kind] else ''}) }}"
    )
    feeds = [_grouped_feed(*sizes) for sizes in ((5, 0, 0), (1, 0, 1), (1, 6, 2), (3, 4, 3))]
    _check(model, feeds)


def test_groups_of_heads_of_one_input_with_sinks() -> None:
    model = parsed(
        "(float[n,s,128] q, float[n,2,p,16] e, float[n,2,p,16] f, int32[n] l, int32 u, float[4] z)"
        " => (float[n,s,64] y, float[n,2,t,16] g, float[n,2,t,16] h)"
        "{ y, g, h = com.microsoft.GroupQueryAttention<num_heads = 4, kv_num_heads = 2>"
        "(q, , , e, f, l, u, , , , , z) }"
    )
    feeds = []
    for sizes in ((5, 0, 0), (1, 6, 2)):
        feed = dict(_grouped_feed(*sizes))
        whole = np.concatenate([feed.pop(name) for name in "qkv"], axis=2)
        kept = {name: value for name, value in feed.items() if name not in "cd"}
        feeds.append({"q": whole, **kept, "z": _floats(np.random.default_rng(9), 4)})
    _check(model, feeds)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("MultiHeadAttention<num_heads = 2>(p)", "packed"),
        ("RotaryEmbedding<scale = 2.0>(q, i, c, c)", "scale of 2.0"),
        (
            "GroupQueryAttention<num_heads = 2, kv_num_heads = 1, causal = 0>(q, q, q, , , l, u)",
            "causal = 0",
        ),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    model = parsed(
        "(float[n,s,8] q, float[n,s,2,3,4] p, int64[n,s] i, float[9,2] c, int32[n] l, int32 u)"
        f" => (float[n,s,8] y) {{ y = com.microsoft.{text} }}"
    )
    with pytest.raises(ImportModelError, match=problem):
        tvm_sod2.from_onnx(model)
