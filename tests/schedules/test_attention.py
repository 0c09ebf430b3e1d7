"""The attention kernel at shapes around its blocks and chunks, for several vectors and layouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, tirx

from tvm_sod2.passes.lower import lower_to_vm
from tvm_sod2.schedules.attention import attention_kernel
from tvm_sod2.schedules.attention_spec import Attention, Axis, Causal, View
from tvm_sod2.schedules.kernel import i64
from tvm_sod2.schedules.traits import Traits, host_target

HOST = Traits.from_target(host_target())
HALF = Traits(32, 16, True, 32 << 10, 256 << 10, 2)
QUARTER = Traits(16, 16, True, 32 << 10, 256 << 10, 3)

LOWEST = float(np.finfo("float32").min)

# batch, heads, query rows, keys: none, one, primes, vectors and chunks and one more or less
SHAPES = [
    (1, 1, 1, 1), (2, 3, 1, 7), (1, 2, 3, 130), (2, 2, 4, 12), (1, 3, 17, 17), (1, 1, 33, 257),
    (1, 2, 64, 128), (2, 1, 31, 127), (1, 1, 5, 129), (3, 1, 16, 400), (1, 1, 65, 13),
    (1, 2, 0, 4), (1, 2, 5, 0), (0, 2, 3, 3),
]  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Where the axes (batch, head, row, column) of an operand lie."""

    order: tuple[int, int, int, int] = (0, 1, 2, 3)

    def view(self, name: str, dims: tuple) -> View:
        shape = [dims[axis] for axis in self.order]
        shape = [tirx.IntImm("int64", d) if isinstance(d, int) else d for d in shape]
        buffer = tirx.decl_buffer(shape, "float32", name, layout=None)
        return View(buffer, tuple(map(Axis, self.order)))

    def laid(self, array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array.transpose(self.order))


PLAIN, HEADS_INSIDE, KEYS_LAST = Layout(), Layout((0, 2, 1, 3)), Layout((0, 1, 3, 2))


@dataclass(frozen=True)
class Case:
    depth: int
    width: int
    traits: Traits = HOST
    layout: Layout = PLAIN
    keys: Layout = PLAIN
    mask: str = ""
    late: Callable[[Any, Any], Any] | None = None
    hidden: float = -np.inf


def past(rows: Any, keys: Any) -> Any:
    """Where the queries are the last of the keys, as with a cache."""
    return keys - rows


CASES = {
    "as wide as a panel": Case(64, 64),
    "heads inside": Case(15, 15, layout=HEADS_INSIDE, keys=HEADS_INSIDE),
    "keys last": Case(16, 48, keys=KEYS_LAST, mask="full"),
    "a mask of keys": Case(5, 33, mask="keys"),
    "one column": Case(1, 1, mask="full"),
    "half vectors": Case(64, 20, traits=HALF, mask="full"),
    "causal": Case(64, 64, late=lambda *_: 0),
    "causal behind a past": Case(8, 17, late=past),
    "causal and a mask": Case(16, 33, mask="full", keys=KEYS_LAST, late=past),
    "causal, the lowest number": Case(20, 40, traits=HALF, late=past, hidden=LOWEST),
    "causal, some rows late": Case(3, 9, traits=QUARTER, late=lambda *_: -5, hidden=LOWEST),
    "causal, hidden like others": Case(5, 16, late=lambda *_: 1, hidden=0.2),
    "causal, some keys early": Case(16, 16, mask="keys", late=lambda *_: 3, hidden=LOWEST),
    "quarter vectors": Case(7, 3, traits=QUARTER, layout=HEADS_INSIDE, keys=KEYS_LAST),
}


def compiled(case: Case) -> relax.VirtualMachine:
    batch, heads, rows, keys = (tirx.Var(name, "int64") for name in "bhst")
    q = case.layout.view("q", (batch, heads, rows, case.depth))
    k = case.keys.view("k", (batch, heads, keys, case.depth))
    v = case.layout.view("v", (batch, heads, keys, case.width))
    y = case.layout.view("y", (batch, heads, rows, case.width))
    params, steps = [q.buffer, k.buffer, v.buffer], ()
    if case.mask:
        lead = [rows] if case.mask == "full" else []
        mask = tirx.decl_buffer([*lead, keys], "float32", "mask", layout=None)
        params.append(mask)
        steps = (lambda score, index: score + mask[tuple(index[-len(mask.shape) :])],)
    params.append(y.buffer)
    sizes = (tuple(params), (batch, heads), rows, keys, case.depth, case.width)
    causal = None if case.late is None else Causal(i64(case.late(rows, keys)), case.hidden)
    attention = Attention(*sizes, q, k, v, y, 0.3, steps, causal=causal)
    bb = relax.BlockBuilder()
    kernel = bb.add_func(attention_kernel(attention, case.traits), "attention")
    *given, out = (relax.TensorType(list(p.shape), "float32") for p in params)
    inputs = [relax.Var(f"x{i}", ty) for i, ty in enumerate(given)]
    with bb.function("main", inputs):
        with bb.dataflow():
            result = bb.emit_output(relax.call_tir(kernel, inputs, out))
        bb.emit_func_output(result)
    mod = tvm.transform.Sequential(lower_to_vm(host_target()))(bb.get())
    executable = relax.build(mod, host_target(), relax_pipeline=None)
    return relax.VirtualMachine(executable, tvm.cpu())


def reference(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None, case: Case
) -> np.ndarray:
    scores = q.astype("float64") @ k.swapaxes(-1, -2).astype("float64") * 0.3
    scores = scores if mask is None else scores + mask
    if case.late is not None:
        seen = np.tri(*scores.shape[-2:], case.late(*scores.shape[-2:]), dtype=bool)
        scores = np.where(seen, scores, case.hidden)
    with np.errstate(invalid="ignore"):  # a row masked whole is NaN, as softmax has it
        weights = np.exp(scores - scores.max(-1, keepdims=True, initial=-np.inf))
        return weights / weights.sum(-1, keepdims=True) @ v


@pytest.mark.parametrize("name", CASES)
def test_attention(name: str) -> None:
    case = CASES[name]
    run = compiled(case)["main"]
    rng = np.random.default_rng(0)
    for batch, heads, rows, keys in SHAPES:
        q, k, v = (
            rng.normal(size=(batch, heads, *sizes)).astype("float32")
            for sizes in ((rows, case.depth), (keys, case.depth), (keys, case.width))
        )
        arrays = [case.layout.laid(q), case.keys.laid(k), case.layout.laid(v)]
        mask = None
        if case.mask:
            shape = (rows, keys) if case.mask == "full" else (keys,)
            mask = np.where(rng.random(shape) < 0.3, -np.inf, rng.normal(size=shape))
            arrays.append(mask.astype("float32"))
        found = run(*map(tvm.runtime.tensor, arrays)).numpy()
        expected = case.layout.laid(reference(q, k, v, mask, case))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=f"{q.shape}")


def test_rows_masked_with_the_lowest_number_see_all_keys_alike() -> None:
    """As exporters mask: no score reaches minus infinity, and what is masked whole is a mean."""
    run = compiled(CASES["keys last"])["main"]
    rng = np.random.default_rng(0)
    rows, keys = 21, 150
    q, k, v = (
        rng.normal(size=size).astype("float32")
        for size in ((1, 1, rows, 16), (1, 1, 16, keys), (1, 1, keys, 48))
    )
    mask = np.where(rng.random((rows, keys)) < 0.5, np.finfo("float32").min, 0).astype("float32")
    mask[4] = np.finfo("float32").min
    found = run(*map(tvm.runtime.tensor, (q, k, v, mask))).numpy()
    np.testing.assert_allclose(found[0, 0, 4], v[0, 0].mean(0), rtol=1e-4, atol=1e-5)
    expected = reference(q, k.swapaxes(-1, -2), v, mask, CASES["keys last"])
    np.testing.assert_allclose(np.delete(found, 4, 2), np.delete(expected, 4, 2), 1e-4, 1e-5)


def test_a_score_that_is_no_number_spoils_only_its_row() -> None:
    run = compiled(CASES["as wide as a panel"])["main"]
    q, k, v = (np.ones((1, 1, n, 64), "float32") for n in (20, 140, 140))
    q[0, 0, 3, 5] = np.nan
    found = run(*map(tvm.runtime.tensor, (q, k, v))).numpy()[0, 0]
    assert np.isnan(found[3]).all()
    np.testing.assert_allclose(np.delete(found, 3, axis=0), 1.0, rtol=1e-6)
