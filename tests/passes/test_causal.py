"""Causal masks are found however they are made, and then neither computed nor read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op as R

import tvm_sod2
from tests.passes.rewriting import rng
from tests.passes.test_fuse_attention import TRAITS, Input, const, network, operators, softmax
from tvm_sod2.passes.causal import hides
from tvm_sod2.passes.fuse_attention import fuse_attention

LOWEST = float(np.finfo("float32").min)
DEPTH = 8
Mask = Callable[..., Any]


def places(emit: Any, scores: Any, late: Any = 0) -> tuple[Any, Any]:
    """The row of each score, plus `late`, and its key: (s, 1) and (1, t)."""
    *_, s, t = scores.ty.shape.values
    row = emit(R.arange(late, s + late, 1, dtype="int64"))
    key = emit(R.arange(0, t, 1, dtype="int64"))
    return emit(R.reshape(row, (s, 1))), emit(R.reshape(key, (1, t)))


def chosen(emit: Any, x: Any, *_: Any) -> Any:
    row, key = places(emit, x)
    return emit(R.where(emit(R.less_equal(key, row)), x, const(-np.inf)))


def chosen_otherwise(emit: Any, x: Any, *_: Any) -> Any:
    row, key = places(emit, x)
    return emit(R.where(emit(R.less(row, key)), const(-1e4), x))


def added(emit: Any, x: Any, *_: Any) -> Any:
    row, key = places(emit, x)
    mask = emit(R.where(emit(R.greater(key, row)), const(LOWEST), const(0.0)))
    return emit(R.add(emit(R.expand_dims(mask, [0])), x))


def behind_a_past(emit: Any, x: Any, *_: Any) -> Any:
    """Where the queries are the last keys; the mask is made of all keys' rows and cut."""
    *_, s, t = x.ty.shape.values
    _, key = places(emit, x)
    _, every = places(emit, emit(R.zeros((t, t), "float32")))
    later = emit(R.less(emit(R.permute_dims(every, [1, 0])), key))
    cut = emit(R.strided_slice(later, [0], [t - s], [t], assume_inbound=True))
    return emit(R.where(emit(R.logical_not(cut)), x, const(LOWEST)))


def from_dims(emit: Any, x: Any, *_: Any) -> Any:
    """The number of keys before is a tensor."""
    *_, s, t = x.ty.shape.values
    row, key = places(emit, x)
    before = emit(
        R.take(emit(R.shape_to_tensor(relax.ShapeExpr([7, t - s]))), relax.const([1], "int64"))
    )
    last = emit(R.add(row, emit(R.reshape(before, (1, 1)))))
    mask = emit(R.astype(emit(R.less_equal(key, last)), "float32"))
    hidden = emit(R.multiply(emit(R.subtract(const(1.0), mask)), const(LOWEST)))
    return emit(R.add(x, hidden))


def with_padding(emit: Any, x: Any, shown: Any, *_: Any) -> Any:
    """One mask for both, as decoders have it: what is padded is hidden, too."""
    t = x.ty.shape.values[-1]
    row, key = places(emit, x)
    keep = emit(R.logical_and(emit(R.less_equal(key, row)), emit(R.reshape(shown, (1, t)))))
    return emit(R.where(keep, x, const(LOWEST)))


def window(emit: Any, x: Any, *_: Any) -> Any:
    """Of what a query does not see, only the later keys are skipped."""
    row, key = places(emit, x)
    near = emit(R.greater(key, emit(R.subtract(row, relax.const(4, "int64")))))
    return emit(R.where(emit(R.logical_and(near, emit(R.less_equal(key, row)))), x, const(-np.inf)))


def row_of(late: int) -> Callable[[int, int], np.ndarray]:
    return lambda s, t: np.tri(s, t, late, dtype=bool)


def of_past(s: int, t: int) -> np.ndarray:
    return np.tri(s, t, t - s, dtype=bool)


# What hides scores, which it leaves, what it makes of others, and whether the mask is still read.
FOUND: dict[str, tuple[Mask, Callable[..., np.ndarray], float, bool]] = {
    "chosen": (chosen, row_of(0), -np.inf, False),
    "chosen otherwise": (chosen_otherwise, row_of(0), -1e4, False),
    "added": (added, row_of(0), LOWEST, False),
    "behind a past": (behind_a_past, of_past, LOWEST, False),
    "from dims": (from_dims, of_past, LOWEST, False),
    "with padding": (with_padding, row_of(0), LOWEST, True),
    "window": (window, lambda s, t: np.tri(s, t, 0) - np.tri(s, t, -4) > 0, -np.inf, True),
}


def attention(mask: Mask, symbols: str = "st") -> tvm.IRModule:
    rows, keys = symbols

    def build(emit: Any, q: Any, k: Any, v: Any, shown: Any) -> Any:
        scores = emit(R.matmul(q, emit(R.permute_dims(k, [0, 2, 1]))))
        weights = emit(R.nn.softmax(mask(emit, scores, shown), axis=-1))
        return emit(R.matmul(weights, v))

    shapes = {"q": (2, rows, DEPTH), "k": (2, keys, DEPTH), "v": (2, keys, DEPTH)}
    inputs = {name: Input(dims) for name, dims in shapes.items()}
    return network(build, inputs | {"shown": Input((keys,), "bool")})


def kernel(mod: tvm.IRModule) -> str:
    (func,) = (f for f in mod.functions.values() if isinstance(f, tvm.tirx.PrimFunc))
    return str(func.attrs["sod2.kernel"])


@pytest.mark.parametrize("name", FOUND)
def test_what_comes_too_late_is_skipped(name: str) -> None:
    mask, visible, hidden, reads = FOUND[name]
    mod = attention(mask)
    fused = fuse_attention(TRAITS)(mod)
    assert kernel(fused).startswith("causal attention")
    names = operators(fused)
    assert names.count("relax.call_tir") == 1 and "relax.matmul" not in names
    assert (len(names) > 1) == reads, names
    run = relax.VirtualMachine(tvm_sod2.build(mod), tvm.cpu())["main"]
    for s, t in ((1, 1), (5, 5), (33, 70), (1, 9), (31, 3), (128, 128)):
        if visible is of_past and s > t:
            continue
        q, k, v = (rng.normal(size=(2, n, DEPTH)).astype("float32") for n in (s, t, t))
        shown = rng.random(t) > 0.3
        shown[: t // 4] = False  # the first rows see nothing at all
        seen = visible(s, t) & shown if name == "with padding" else visible(s, t)
        scores = np.where(seen, q.astype("float64") @ k.swapaxes(1, 2), hidden)
        found = run(*map(tvm.runtime.tensor, (q, k, v, shown))).numpy()
        np.testing.assert_allclose(found, softmax(scores) @ v, rtol=1e-4, atol=1e-5)


def test_a_constant_triangle_is_a_causal_mask() -> None:
    """As graphs of fixed lengths have it, and buffers that are cut to the length."""
    triangle = relax.const(np.tri(64, dtype=bool)[None], "bool")

    def cut(emit: Any, x: Any, *_: Any) -> Any:
        last = emit(R.strided_slice(triangle, [1, 2], [3, 1], [40, 30]))
        return emit(R.where(last, x, const(-np.inf)))

    inputs = {"q": Input((1, 37, 4)), "k": Input((1, 4, 29)), "v": Input((1, 29, 4))}

    def build(emit: Any, q: Any, k: Any, v: Any) -> Any:
        weights = emit(R.nn.softmax(cut(emit, emit(R.matmul(q, k))), axis=-1))
        return emit(R.matmul(weights, v))

    fused = fuse_attention(TRAITS)(network(build, inputs))
    assert kernel(fused).startswith("causal") and operators(fused) == ["relax.call_tir"]


def strict(emit: Any, x: Any, *_: Any) -> Any:
    """Earlier keys are hidden: that is no causal mask."""
    row, key = places(emit, x)
    return emit(R.where(emit(R.greater(key, row)), x, const(-np.inf)))


def mild(emit: Any, x: Any, *_: Any) -> Any:
    """A bias that falls with the distance."""
    row, key = places(emit, x)
    return emit(R.add(x, emit(R.where(emit(R.less_equal(key, row)), const(0.0), const(-1.0)))))


def revealed(emit: Any, x: Any, *_: Any) -> Any:
    """What was hidden comes back."""
    return emit(R.maximum(chosen(emit, x), const(0.0)))


def either(emit: Any, x: Any, shown: Any) -> Any:
    """Some of the later keys are seen."""
    row, key = places(emit, x)
    t = x.ty.shape.values[-1]
    keep = emit(R.logical_or(emit(R.less_equal(key, row)), emit(R.reshape(shown, (1, t)))))
    return emit(R.where(keep, x, const(-np.inf)))


def by_twos(emit: Any, x: Any, *_: Any) -> Any:
    """Two keys for each row."""
    row, key = places(emit, x)
    twice = emit(R.multiply(row, relax.const(2, "int64")))
    return emit(R.where(emit(R.less_equal(key, twice)), x, const(-np.inf)))


@pytest.mark.parametrize("mask", [strict, mild, revealed, either, by_twos])
def test_what_is_not_causal(mask: Mask) -> None:
    fused = fuse_attention(TRAITS)(attention(mask))
    assert kernel(fused).startswith("attention")


def test_no_step_hides_nothing_it_does_not_know() -> None:
    x = relax.Var("x", relax.TensorType([3, 4], "float32"))
    m = relax.Var("m", relax.TensorType([3, 4], "float32"))
    call = relax.BlockBuilder().normalize(R.add(x, m))
    assert hides([(call, 0)], {}) is None
