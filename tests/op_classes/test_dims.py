"""Transfers of dims against NumPy's shapes, beside Relax's own inference, which gives up."""

from __future__ import annotations

from typing import Any

import pytest
import tvm
from tvm import relax
from tvm.relax import op as R

from tests.op_classes.dims_cases import CASES, Case
from tests.op_classes.harness import (
    Env,
    arithmetic,
    dims_found,
    envs,
    evaluate,
    evaluate_all,
    facts_of,
    k,
    m,
    n,
    tensor,
    text,
    typed,
    with_numbers,
)
from tvm_sod2.op_classes import ROWS, fact_of_type, row
from tvm_sod2.op_classes.fact import entries
from tvm_sod2.op_classes.lattice import lacks_dims


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_dims_are_numpys(case: Case) -> None:
    known = {var: entries(items) for var, items in case.known.items()}
    found = dims_found(case.call(), known)
    for env in envs(6):
        _force(case, env)
        assert _at(found, env) == case.shape(env), env


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_more_knowledge_contradicts_nothing(case: Case) -> None:
    """Monotone: on dims that are numbers the transfer says the same numbers, or more."""
    call = typed(case.call())
    transfer = row(call.op.name).dims
    assert transfer is not None
    for env in envs(4):
        _force(case, env)
        known = {var: evaluate_all(entries(items), env) for var, items in case.known.items()}
        numbers = with_numbers(call, env)
        if isinstance(call.ty, relax.TupleType):
            numbers = typed(numbers)
        found = transfer(numbers, facts_of(numbers, known), arithmetic())
        expected = case.shape(env)
        assert _at(found, env) == expected or _is_open(expected)


def _is_open(dims: Any) -> bool:
    """Whether only the run knows some dim."""
    return dims is None or (isinstance(dims, tuple) and any(map(_is_open, dims)))


def _force(case: Case, env: Env) -> None:
    for name, value in case.equal.items():
        env[name] = value if isinstance(value, int) else env[value]


def _at(found: Any, env: Env) -> Any:
    if isinstance(found, tuple):
        return tuple(_at(part, env) for part in found)
    return tuple(evaluate(entry, env) for entry in found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_relax_alone_finds_less(case: Case) -> None:
    if case.name in _RELAX_KNOWS:
        assert not lacks_dims(typed(case.call()).ty)
    else:
        assert lacks_dims(typed(case.call()).ty)


_RELAX_KNOWS = {"matmul by a vector", "index_tensor", "squeeze"}
"""Relax finds these as well: the transfer is complete all the same."""


def test_squeeze_of_all_ones_needs_bounds() -> None:
    call = typed(R.squeeze(tensor(n, 1, m)))
    transfer = row("relax.squeeze").dims
    assert transfer is not None
    assert call.ty.ndim == -1
    known = arithmetic()
    assert transfer(call, [fact_of_type(call.args[0].ty)], known) is None
    known.bind(n, 2, 9)
    known.bind(m, 1, 1)
    assert transfer(call, [fact_of_type(call.args[0].ty)], known) == [n]


def test_operators_that_relax_refuses_on_unproven_dims() -> None:
    fma = relax.Call(tvm.ir.Op.get("relax.ewise_fma"), [tensor(n, 8), tensor(k, m), tensor(n, m)])
    with pytest.raises(ValueError, match="same shape"):
        typed(fma)
    facts = [fact_of_type(argument.ty) for argument in fma.args]
    transfer = row("relax.ewise_fma").dims
    assert transfer is not None
    found = transfer(fma, facts, arithmetic())
    assert isinstance(found, list)
    assert [text(dim) for dim in found] == ["n", "8"]


def test_every_row_with_a_transfer_of_dims_has_a_case() -> None:
    covered = {typed(case.call()).op.name for case in CASES}
    same = {name for name, its in ROWS.items() if its.dims is ROWS["relax.add"].dims}
    elsewhere = {"relax.ewise_fma", "relax.quantize", "relax.dequantize"}
    giving = {name for name, its in ROWS.items() if its.dims is not None}
    assert sorted(giving - covered - same - elsewhere) == []
