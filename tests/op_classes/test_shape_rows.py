"""Entries made from shapes and numbers: the rows that take no tensor of entries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax
from tvm.relax import op as R

from tests.op_classes.harness import (
    arithmetic,
    contradicts,
    envs,
    evaluate_all,
    facts_of,
    k,
    m,
    n,
    tensor,
    typed,
)
from tvm_sod2.op_classes import row
from tvm_sod2.op_classes.fact import MAX_ENTRIES, entries


def _found(call: Any, known: dict[relax.Var, np.ndarray] | None = None) -> np.ndarray | None:
    call = typed(call)
    transfer = row(call.op.name).value
    assert transfer is not None
    found = transfer(call, facts_of(call, known or {}), arithmetic())
    assert not isinstance(found, tuple)
    return found


def test_the_entries_of_a_shape_are_the_dims() -> None:
    found = _found(R.shape_of(tensor(n, 3, m * 2)))
    assert found is not None
    for env in envs(3):
        assert list(evaluate_all(found, env)) == [env["n"], 3, 2 * env["m"]]


def test_shapes_and_tensors_of_them_have_the_same_entries() -> None:
    shape = relax.Var("s", relax.ShapeType(ndim=2))
    vector = tensor(2, dtype="int64")
    known = entries([n, None])
    assert _found(R.shape_to_tensor(shape), {shape: known}) is known
    assert _found(R.tensor_to_shape(vector), {vector: known}) is known


def test_the_size_of_a_tensor_of_unknown_rank_is_unknown() -> None:
    unranked = relax.Var("x", relax.TensorType(dtype="float32"))
    assert _found(R.size(unranked)) is None
    assert _found(R.shape_of(unranked)) is None


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (R.zeros((2, 3), "int64"), np.zeros((2, 3))),
        (R.ones((2, 3), "int64"), np.ones((2, 3))),
        (R.full((2,), relax.const(7, "int64"), "int64"), np.full(2, 7)),
        (R.full((2,), relax.const(0.5, "float32"), "float32"), np.full(2, 0.5)),
        (R.full((3,), relax.const(300, "int64"), "int8"), np.full(3, 300 - 256)),
        (R.eye(3, 4, 1, "int64"), np.eye(3, 4, 1)),
        (R.eye(4, 3, -1, "int64"), np.eye(4, 3, -1)),
        (R.arange(2, 9, 3), np.arange(2, 9, 3)),
        (R.arange(0, 4, 1), np.arange(4)),
        (R.arange(3, 3, 1), np.arange(0)),
    ],
)
def test_constant_tensors(call: Any, expected: np.ndarray) -> None:
    found = _found(call)
    assert found is not None
    assert not contradicts(evaluate_all(found, {}), expected)
    assert found.shape == expected.shape


def test_a_range_from_a_dim_has_the_dim_in_it() -> None:
    found = _found(R.arange(n, n + 3, 1))
    assert found is not None
    for env in envs(3):
        assert list(evaluate_all(found, env)) == [env["n"] + i for i in range(3)]


@pytest.mark.parametrize(
    "call",
    [
        R.arange(0, n, 1),
        R.arange(9, 0, -2),  # Relax's length of it is wrong
        R.zeros((n, 2), "int64"),
        R.ones((MAX_ENTRIES + 1,), "int64"),
        R.zeros((2,), "float16"),
        R.eye(n, 3, 0, "int64"),
    ],
)
def test_what_is_not_tracked(call: Any) -> None:
    assert _found(call) is None


def test_what_only_passes_a_tensor_on_passes_its_entries() -> None:
    x = tensor(2, dtype="int64")
    known = {x: entries([n, k])}
    assert _found(R.builtin.stop_lift_params(x), known) is known[x]
    for name in ("relax.to_vdevice", "relax.wrap_param", "relax.hint_on_device"):
        assert row(name).value is row("relax.builtin.stop_lift_params").value
