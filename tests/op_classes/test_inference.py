"""Where no row says anything about dims, Relax's own inference is relied on: is it right?

Each operator is inferred on symbolic dims, the result is evaluated at random dims, and compared
with what NumPy, or the operator's definition, says of them; test_windows.py has convolutions and
pooling. The last tests show where Relax is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm import relax
from tvm.relax import op as R

from tests.op_classes.harness import (
    Env,
    arithmetic,
    dims_at,
    envs,
    facts_of,
    h,
    j,
    k,
    m,
    n,
    tensor,
    typed,
    w,
)
from tvm_sod2.op_classes import row
from tvm_sod2.op_classes.refusals import refusal


def _np(function: Callable[..., Any], *names: str) -> Callable[[Env], tuple[int, ...]]:
    return lambda e: function(np.broadcast_to(np.int8(0), tuple(e[name] for name in names))).shape


def _int(*dims: Any) -> relax.Var:
    return tensor(*dims, dtype="int64", name="i")


Named = tuple[str, Callable[[], Any], Callable[[Env], Any]]

CASES: list[Named] = [
    ("take", lambda: R.take(tensor(n, m), _int(k, j), 1), lambda e: (e["n"], e["k"], e["j"])),
    (
        "gather_elements",
        lambda: R.gather_elements(tensor(n, m), _int(k, j), 1),
        lambda e: (e["k"], e["j"]),
    ),
    ("gather_nd", lambda: R.gather_nd(tensor(n, m, h), _int(k, 2)), lambda e: (e["k"], e["h"])),
    (
        "one_hot",
        lambda: R.one_hot(_int(n, m), relax.prim_value(1), relax.prim_value(0), 5, 1),
        lambda e: (e["n"], 5, e["m"]),
    ),
    (
        "tile",
        lambda: R.tile(tensor(n, m), [2, 1, 3]),
        _np(lambda a: np.tile(a, [2, 1, 3]), "n", "m"),
    ),
    ("repeat", lambda: R.repeat(tensor(n, m), 2, 0), _np(lambda a: a.repeat(2, 0), "n", "m")),
    ("repeat all", lambda: R.repeat(tensor(n, m), 2), _np(lambda a: a.repeat(2), "n", "m")),
    (
        "split at",
        lambda: R.split(tensor(n), [2, 5], 0),
        lambda e: tuple(a.shape for a in np.split(np.zeros(e["n"]), [2, 5])),
    ),
    (
        "slice",
        lambda: R.strided_slice(tensor(n, m), [0, 1], [1, 0], [99, 9], [2, 3]),
        _np(lambda a: a[1:99:2, 0:9:3], "n", "m"),
    ),
    (
        "slice back",
        lambda: R.strided_slice(tensor(n), [0], [-1], [-99], [-3]),
        _np(lambda a: a[-1:-99:-3], "n"),
    ),
    ("pad", lambda: R.nn.pad(tensor(n, m), [1, 1, 2, 0]), lambda e: (e["n"] + 2, e["m"] + 2)),
    (
        "permute_dims",
        lambda: R.permute_dims(tensor(n, m, k), [2, 0, 1]),
        _np(lambda a: a.transpose(2, 0, 1), "n", "m", "k"),
    ),
    ("flatten", lambda: R.flatten(tensor(n, m, k)), _np(np.ravel, "n", "m", "k")),
    (
        "batch_flatten",
        lambda: R.nn.batch_flatten(tensor(n, m, k)),
        lambda e: (e["n"], e["m"] * e["k"]),
    ),
    (
        "expand_dims",
        lambda: R.expand_dims(tensor(n, m), [0, -1]),
        _np(lambda a: a[None, ..., None], "n", "m"),
    ),
    (
        "layout_transform",
        lambda: R.layout_transform(tensor(n, m), lambda a, b: (a, b // 4, b % 4)),
        lambda e: (e["n"], -(-e["m"] // 4), 4),
    ),
    (
        "pixel_shuffle",
        lambda: R.nn.pixel_shuffle(tensor(n, 8, h, w), 2),
        lambda e: (e["n"], 2, 2 * e["h"], 2 * e["w"]),
    ),
    (
        "sum",
        lambda: R.sum(tensor(n, m, k), [1], True),
        _np(lambda a: a.sum(1, keepdims=True), "n", "m", "k"),
    ),
    ("argmax", lambda: R.argmax(tensor(n, m, k), 1), lambda e: (e["n"], e["k"])),
    ("topk", lambda: R.topk(tensor(n, m), 3, 1), lambda e: ((e["n"], 3), (e["n"], 3))),
    ("cumsum", lambda: R.cumsum(tensor(n, m)), _np(np.cumsum, "n", "m")),
    (
        "einsum",
        lambda: R.einsum((tensor(n, m, k), tensor(n, k, j)), "bij,bjk->bki"),
        lambda e: (e["n"], e["j"], e["m"]),
    ),
    ("outer", lambda: R.outer(tensor(n), tensor(m)), lambda e: (e["n"], e["m"])),
    (
        "meshgrid",
        lambda: R.meshgrid([tensor(n), tensor(m)], "ij"),
        lambda e: ((e["n"], e["m"]),) * 2,
    ),
    ("arange", lambda: R.arange(0, n, 2), lambda e: (len(range(0, e["n"], 2)),)),
    ("eye", lambda: R.eye(n, m, 1), lambda e: (e["n"], e["m"])),
    ("hamming_window", lambda: R.hamming_window(n, True, 0.5, 0.5, "float32"), lambda e: (e["n"],)),
    ("median", lambda: R.median(tensor(n, m), 1), lambda e: ((e["n"],), (e["n"],))),
    (
        "scatter_elements",
        lambda: R.scatter_elements(tensor(n, m), _int(k, j), tensor(k, j)),
        lambda e: (e["n"], e["m"]),
    ),
    (
        "grid_sample",
        lambda: R.image.grid_sample(tensor(n, 3, h, w), tensor(n, 2, k, j)),
        lambda e: (e["n"], 3, e["k"], e["j"]),
    ),
    (
        "roi_align",
        lambda: R.vision.roi_align(tensor(n, m, h, w), tensor(k, 5), (7, 6), 1.0, 2),
        lambda e: (e["k"], e["m"], 7, 6),
    ),
    (
        "attention",
        lambda: R.nn.attention(tensor(n, m, k, 8), tensor(n, j, k, 8), tensor(n, j, k, w)),
        lambda e: (e["n"], e["m"], e["k"], e["w"]),
    ),
    ("bucketize", lambda: R.bucketize(tensor(n, m), tensor(k)), lambda e: (e["n"], e["m"])),
    (
        "reverse_sequence",
        lambda: R.reverse_sequence(tensor(n, m), tensor(m, dtype="int32"), 0, 1),
        lambda e: (e["n"], e["m"]),
    ),
]


@pytest.mark.parametrize(
    ("call", "shape"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_relax_infers_the_shape(call: Callable[[], Any], shape: Callable[[Env], Any]) -> None:
    ty = typed(call()).ty
    for env in envs(6):
        assert dims_at(ty, env) == shape(env), env


def test_relax_is_wrong_about_empty_slices() -> None:
    """A begin behind the end gives a negative dim; the importer clamps before it slices."""
    ty = typed(R.strided_slice(tensor(10), [0], [5], [2])).ty
    assert dims_at(ty, {}) == (-3,)


def test_relax_is_wrong_about_falling_and_empty_ranges() -> None:
    """`range(10, 0, -2)` has 5 entries and `range(7, 5)` none."""
    assert dims_at(typed(R.arange(10, 0, -2)).ty, {}) == (6,)
    assert dims_at(typed(R.arange(7, 5, 1)).ty, {}) == (-2,)


def test_relax_is_wrong_about_more_sections_than_elements() -> None:
    assert dims_at(typed(R.split(tensor(1), 3, 0)).ty, {}) == ((1,), (1,), (-1,))


def test_relax_is_wrong_about_meshgrid_xy() -> None:
    """NumPy swaps the first two axes."""
    ty = typed(R.meshgrid([tensor(2), tensor(3)], "xy")).ty
    assert dims_at(ty, {}) == ((2, 3), (2, 3))
    assert np.meshgrid(np.zeros(2), np.zeros(3), indexing="xy")[0].shape == (3, 2)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: R.arange(10, 0, -2), "flip a rising range"),
        (lambda: R.arange(7, 5, 1), "dim 0 of the result would be -2"),
        (lambda: R.strided_slice(tensor(10), [0], [5], [2]), "dim 0 of the result would be -3"),
        (lambda: R.split(tensor(1), 3, 0), "dim 0 of the result would be -1"),
        (lambda: R.meshgrid([tensor(2), tensor(3)], "xy"), "permute_dims"),
    ],
)
def test_what_relax_is_wrong_about_is_refused(call: Callable[[], Any], reason: str) -> None:
    expr = typed(call())
    found = refusal(row(expr.op.name), expr, facts_of(expr, {}), arithmetic())
    assert found is not None and reason in found


@pytest.mark.parametrize("call", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_what_relax_is_right_about_is_not_refused(call: Callable[[], Any]) -> None:
    expr = typed(call())
    assert refusal(row(expr.op.name), expr, facts_of(expr, {}), arithmetic()) is None
