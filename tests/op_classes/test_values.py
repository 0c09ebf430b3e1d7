"""Transfers of entries against NumPy, and NumPy against the operators that stock TVM compiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax

from tests.op_classes import value_cases, value_cases_movement
from tests.op_classes.harness import (
    NAMES,
    Env,
    arithmetic,
    contradicts,
    envs,
    evaluate_all,
    facts_of,
    typed,
)
from tests.op_classes.value_cases import Case
from tvm_sod2.op_classes import ROWS, fact_of_type, row
from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import MAX_ENTRIES, entries
from tvm_sod2.op_classes.lattice import with_entries

CASES = [*value_cases.CASES, *value_cases_movement.CASES]
_BY_NAME = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def _call(case: Case) -> tuple[relax.Call, list[relax.Var]]:
    variables = [
        relax.Var(f"x{i}", relax.TensorType(array.shape, case.dtype(i)))
        for i, array in enumerate(case.arrays)
    ]
    return typed(case.call(*variables)), variables


def _transferred(case: Case, arrays: list[np.ndarray]) -> Any:
    call, variables = _call(case)
    transfer = row(call.op.name).value
    assert transfer is not None
    known = dict(zip(variables, arrays, strict=True))
    return transfer(call, facts_of(call, known), arithmetic())


def _at(found: Any, env: Env) -> Any:
    if isinstance(found, tuple):
        return tuple(_at(part, env) for part in found)
    return None if found is None else evaluate_all(found, env)


def _expected(case: Case, env: Env) -> Any:
    numbers = [evaluate_all(a, env).astype(case.dtype(i)) for i, a in enumerate(case.arrays)]
    return case.numpy(*numbers)


def _unknown(found: Any) -> int:
    if isinstance(found, tuple):
        return sum(map(_unknown, found))
    return 1 if found is None else sum(entry is None for entry in found.flat)


@_BY_NAME
def test_transfer_says_what_numpy_computes(case: Case) -> None:
    found = _transferred(case, case.arrays)
    assert found is not None
    assert _unknown(found) <= case.unknown
    for env in envs(4, case.low):
        assert not contradicts(_at(found, env), _expected(case, env)), env


@_BY_NAME
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_less_knowledge_contradicts_nothing(case: Case, data: st.DataObject) -> None:
    """Monotone: whatever is said with some entries unknown, or named, holds of the numbers."""
    env = {name: data.draw(st.integers(case.low, 12)) for name in NAMES}
    arrays = []
    for array in case.arrays:
        choices = [data.draw(st.sampled_from(("as it is", "nac", "number"))) for _ in array.flat]
        arrays.append(
            entries(
                [_weaker(e, c, env) for e, c in zip(array.flat, choices, strict=True)], array.shape
            )
        )
    assert not contradicts(_at(_transferred(case, arrays), env), _expected(case, env))


def _weaker(entry: Entry, choice: str, env: Env) -> Entry:
    if choice == "nac":
        return None
    return (
        evaluate_all(entries([entry]), env)[0]
        if choice == "number" and isinstance(entry, int)
        else entry
    )


def test_every_row_that_tracks_entries_has_a_case() -> None:
    covered = {_call(case)[0].op.name for case in CASES}
    elsewhere = {
        *(
            "relax.shape_of",
            "relax.shape_to_tensor",
            "relax.tensor_to_shape",
        ),  # test_shape_rows.py
        *("relax.zeros", "relax.ones", "relax.eye", "relax.arange"),
        *("relax.wrap_param", "relax.to_vdevice", "relax.builtin.stop_lift_params"),  # identities
        "relax.nn.batch_flatten",  # as flatten
    }
    tracking = {name for name, its in ROWS.items() if its.value is not None}
    assert sorted(tracking - covered - elsewhere) == []


def test_numpy_computes_what_stock_tvm_compiles() -> None:
    """One module of all operators that the wheel compiles, at one choice of dims."""
    env = dict(zip(NAMES, (5, 4, 7, 3, 6, 2), strict=True))
    cases = [case for case in CASES if case.name not in _NOT_COMPILED]
    builder = relax.BlockBuilder()
    for number, case in enumerate(cases):
        call, variables = _call(case)
        with builder.function(f"case{number}", variables):
            builder.emit_func_output(builder.emit(call))
    built = tvm.compile(builder.get(), tvm.target.Target({"kind": "llvm", "opt-level": 0}))
    machine = relax.VirtualMachine(built, tvm.cpu())
    for number, case in enumerate(cases):
        given_ = [evaluate_all(a, env).astype(case.dtype(i)) for i, a in enumerate(case.arrays)]
        result = machine[f"case{number}"](*map(tvm.runtime.tensor, given_))
        expected = _expected(case, env)
        pairs = (
            zip(result, expected, strict=True)
            if isinstance(expected, tuple)
            else [(result, expected)]
        )
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6, err_msg=case.name)


_NOT_COMPILED = {
    "power": "of floats only",
    "equal of truths": "LLVM's verifier refuses it",
    "not_equal of truths": "LLVM's verifier refuses it",
    "fma": "not legalised",
    "identity": "a hint for the VM",
}
"""What stock TVM has no code for."""


def test_large_results_are_not_tracked() -> None:
    """A small operand may be spread over more entries than RDP tracks."""
    x = relax.Var("x", relax.TensorType([2], "int64"))
    for call in (relax.op.broadcast_to(x, (MAX_ENTRIES, 2)), relax.op.tile(x, [MAX_ENTRIES])):
        call = typed(call)
        value = np.array([1, 2], dtype=object)
        transfer = row(call.op.name).value
        assert transfer is not None
        found = transfer(call, facts_of(call, {x: value}), arithmetic())
        assert with_entries(fact_of_type(call.ty), found).value is None
