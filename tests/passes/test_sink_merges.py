"""Batch axes that are joined stay apart for products, and are joined behind them."""

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
from tests.passes.test_fuse_attention import Input, const, network, operators
from tvm_sod2.passes.sink_merges import sink_merges

Build = Callable[..., Any]
INPUTS = {"a": Input((2, 3, "s", 4)), "b": Input((2, 3, 4, "t"))}


def merged(emit: Any, x: Any) -> Any:
    *lead, rows, columns = x.ty.shape.values
    return emit(R.reshape(x, (lead[0] * lead[1], rows, columns)))


def undone(emit: Any, a: Any, b: Any) -> Any:
    s, t = a.ty.shape.values[2], b.ty.shape.values[3]
    y = emit(R.matmul(merged(emit, a), merged(emit, b)))
    y = emit(R.nn.softmax(emit(R.multiply(y, const(0.5))), axis=2))
    y = emit(R.permute_dims(y, [0, 2, 1]))
    return emit(R.reshape(y, (2, 3, t, s)))


def kept(emit: Any, a: Any, b: Any) -> Any:
    return emit(R.matmul(merged(emit, a), merged(emit, b)))


MOVED: dict[str, tuple[Build, list[str]]] = {
    "undone": (undone, ["matmul", "multiply", "nn.softmax", "permute_dims"]),
    "joined in the end": (kept, ["matmul", "reshape"]),
}


@pytest.mark.parametrize("name", MOVED)
def test_merges_move_behind(name: str) -> None:
    build, expected = MOVED[name]
    mod = network(build, INPUTS)
    sunk = sink_merges(mod)
    relax.analysis.well_formed(sunk)
    assert operators(sunk) == [f"relax.{operator}" for operator in expected]
    arrays = [rng.normal(size=dims).astype("float32") for dims in ((2, 3, 5, 4), (2, 3, 4, 7))]
    ours, before = (
        relax.VirtualMachine(tvm_sod2.build(m), tvm.cpu())["main"](*map(tvm.runtime.tensor, arrays))
        for m in (sunk, mod)
    )
    np.testing.assert_allclose(ours.numpy(), before.numpy(), rtol=1e-5, atol=1e-6)


def rows_joined(emit: Any, a: Any, _: Any) -> Any:
    s = a.ty.shape.values[2]
    y = emit(R.reshape(a, (2, 3 * s, 4)))
    return emit(R.permute_dims(y, [0, 2, 1]))


def over_batches(emit: Any, a: Any, _: Any) -> Any:
    return emit(R.nn.softmax(merged(emit, a), axis=0))


def batch_moved(emit: Any, a: Any, _: Any) -> Any:
    return emit(R.permute_dims(merged(emit, a), [1, 0, 2]))


def other_batches(emit: Any, a: Any, b: Any) -> Any:
    turned = emit(R.permute_dims(b, [1, 0, 2, 3]))
    return emit(R.matmul(merged(emit, a), merged(emit, turned)))


@pytest.mark.parametrize("build", [rows_joined, over_batches, batch_moved, other_batches])
def test_what_stays(build: Build) -> None:
    mod = network(build, INPUTS)
    assert operators(sink_merges(mod)) == operators(mod)
