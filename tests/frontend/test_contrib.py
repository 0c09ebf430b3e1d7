"""Operators of com.microsoft against ONNX Runtime, at several shapes each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from peer import check, parsed

Rng = np.random.Generator
Feed = dict[str, np.ndarray]


class Case(NamedTuple):
    """A graph, and its inputs at a size."""

    name: str
    text: str
    feed: Callable[[int, Rng], Feed]
    rtol: float = 1e-4
    atol: float = 1e-5


def _floats(rng: Rng, *shape: int) -> np.ndarray:
    return rng.uniform(-2, 2, shape).astype("float32")


def _with_row(n: int, rng: Rng) -> Feed:
    return {"x": _floats(rng, n, 3, 8), "b": _floats(rng, 8)}


def _rows(*shapes: str) -> Callable[[int, Rng], Feed]:
    """Floats named a, b, ... of these shapes over n."""

    def feed(n: int, rng: Rng) -> Feed:
        dims = [[int(d) if d.isdigit() else eval(d, {"n": n}) for d in s.split()] for s in shapes]
        return {name: _floats(rng, *shape) for name, shape in zip("abcdefgh", dims, strict=False)}

    return feed


def _one(op: str, inputs: str, names: str, rank: int = 3) -> str:
    """The graph of one operator; ``inputs`` declares them, ``names`` lists them."""
    dims = ",".join("rstuv"[:rank])
    return f"({inputs}) => (float[{dims}] y) {{ y = com.microsoft.{op}({names}) }}"


def _skip_norm(op: str, more: str) -> str:
    return (
        f"(float[n,3,8] a, float[n,3,8] b, float[8] c, float[8] d{more})"
        " => (float[n,3,8] y, float[n,3,8] t)"
        f"{{ y, , , t = com.microsoft.{op}<epsilon=0.01>(a, b, c, d{', e' if more else ''}) }}"
    )


CASES = [
    Case("bias_gelu", _one("BiasGelu", "float[n,3,8] x, float[8] b", "x, b"), _with_row),
    Case("gelu", _one("Gelu", "float[n,3,8] x, float[8] b", "x"), _with_row),
    Case("fast_gelu", _one("FastGelu", "float[n,3,8] x, float[8] b", "x, b"), _with_row),
    Case("quick_gelu", _one("QuickGelu<alpha=1.3>", "float[n,3,8] x, float[8] b", "x"), _with_row),
    Case(
        "fused_matmul",
        _one(
            "FusedMatMul<alpha=0.5, transA=1, transB=1>", "float[p,k,m] a, float[p,n,k] b", "a, b"
        ),
        _rows("2 5 n", "2 7 5"),
    ),
    Case(
        "transpose_matmul",
        _one("TransposeMatMul<alpha=2.5, transB=1>", "float[p,m,k] a, float[p,n,k] b", "a, b"),
        _rows("3 n 5", "3 7 5"),
    ),
    Case(
        "fused_matmul_of_batches_behind",
        _one("FusedMatMul<transBatchA=1>", "float[m,p,k] a, float[p,k,n] b", "a, b"),
        _rows("n 2 5", "2 5 7"),
    ),
    Case(
        "fused_matmul_of_batches_behind_and_swapped",
        _one("FusedMatMul<transBatchB=1, transB=1>", "float[p,m,k] a, float[n,p,k] b", "a, b"),
        _rows("2 n 5", "7 2 5"),
    ),
    Case(
        "skip_norm",
        _skip_norm("SkipLayerNormalization", ", float[8] e"),
        _rows("n 3 8", "n 3 8", "8", "8", "8"),
    ),
    Case(
        "simple_skip_norm",
        _skip_norm("SkipSimplifiedLayerNormalization", ""),
        _rows("n 3 8", "n 3 8", "8", "8"),
    ),
    *(
        Case(
            f"fused_conv_{activation.lower()}",
            _one(
                f'FusedConv<activation="{activation}", activation_params={params}, pads=[1,1,1,1]>',
                "float[n,3,h,w] a, float[4,3,3,3] b, float[4] c, float[n,4,h,w] d",
                "a, b, c, d" if activation == "Relu" else "a, b, c",
                4,
            ),
            _rows("n 3 7 n+2", "4 3 3 3", "4", "n 4 7 n+2"),
        )
        for activation, params in (
            ("Relu", "[1.0]"),
            ("LeakyRelu", "[0.2]"),
            ("Clip", "[0.0, 6.0]"),
            ("HardSigmoid", "[0.3, 0.4]"),
            ("Tanh", "[1.0]"),
        )
    ),
    Case(
        "fused_gemm",
        _one(
            'FusedGemm<activation="LeakyRelu", activation_alpha=0.3, transB=1, alpha=0.5>',
            "float[n,5] a, float[7,5] b, float[7] c",
            "a, b, c",
            2,
        ),
        _rows("n 5", "7 5", "7"),
    ),
    Case(
        "embeddings",
        "(int32[n,m] i, int32[n,m] s, float[11,8] w, float[9,8] p, float[2,8] k, float[8] g,"
        " float[8] b, int32[n,m] q) => (float[n,m,8] y, int32[n] c, float[n,m,8] t)"
        "{ y, c, t = com.microsoft.EmbedLayerNormalization<epsilon=0.01>(i, s, w, p, k, g, b, q) }",
        lambda n, rng: {
            "i": rng.integers(0, 11, (2, n), "int32"),
            "s": rng.integers(0, 2, (2, n), "int32"),
            **dict(
                zip(
                    "wpkgb",
                    [_floats(rng, *s) for s in ((11, 8), (9, 8), (2, 8), (8,), (8,))],
                    strict=True,
                )
            ),
            "q": np.ones((2, n), "int32"),
        },
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_agrees_with_onnx_runtime(case: Case) -> None:
    feeds = [case.feed(n, np.random.default_rng(n)) for n in (1, 2, 7)]
    check(parsed(case.text), feeds, case.rtol, case.atol)


def _attention(attrs: str, more: str, names: str) -> str:
    return (
        f"(float[n,s,8] x, float[8,24] w, float[24] b{more}) => (float[n,s,8] y)"
        f"{{ y = com.microsoft.Attention<num_heads=2{attrs}>(x, w, b{names}) }}"
    )


def _attention_feed(n: int, rng: Rng) -> Feed:
    return {"x": _floats(rng, 2, n, 8), "w": _floats(rng, 8, 24) / 4, "b": _floats(rng, 24)}


@pytest.mark.parametrize(
    ("attrs", "declared", "mask"),
    [
        ("", "", None),
        (", unidirectional=1", "", None),
        (", scale=0.3", ", int32[n] m", lambda n, rng: rng.integers(1, n + 1, 2, "int32")),
        ("", ", int32[n,t] m", lambda n, rng: rng.integers(0, 2, (2, n), "int32")),
        ("", ", int32[n,s,t] m", lambda n, rng: rng.integers(0, 2, (2, n, n), "int32")),
    ],
    ids=["plain", "causal", "lengths", "keys", "pairs"],
)
def test_attention(
    attrs: str, declared: str, mask: Callable[[int, Rng], np.ndarray] | None
) -> None:
    model = parsed(_attention(attrs, declared, ", m" if mask else ""))
    feeds = []
    for n in (1, 3, 9):
        rng = np.random.default_rng(n)
        feed = _attention_feed(n, rng)
        feeds.append(feed | ({} if mask is None else {"m": mask(n, rng)}))
    check(model, feeds, 1e-3, 1e-4)


def test_attention_with_a_cache() -> None:
    model = parsed(
        "(float[n,s,8] x, float[8,24] w, float[24] b, float[2,n,2,p,4] c)"
        " => (float[n,s,8] y, float[2,n,2,t,4] z)"
        "{ y, z = com.microsoft.Attention<num_heads=2, unidirectional=1>(x, w, b, , c) }"
    )
    feeds = []
    for n, past in ((1, 4), (3, 1), (2, 0)):
        rng = np.random.default_rng(n)
        feeds.append(_attention_feed(n, rng) | {"c": _floats(rng, 2, 2, 2, past, 4)})
    check(model, feeds, 1e-3, 1e-4)
