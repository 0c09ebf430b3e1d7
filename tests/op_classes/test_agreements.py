"""Dims that an operator forces to be equal, and the argument that is to be stated so."""

from __future__ import annotations

import pytest
import tvm
from tvm import relax
from tvm.relax import op as R

from tests.op_classes.agreement_cases import CASES, int_tensor
from tests.op_classes.harness import agreements, arithmetic, j, k, m, n, tensor, typed
from tvm_sod2.op_classes import ROWS, fact_of_type, row
from tvm_sod2.op_classes.fact import entries

_SHAPE = relax.Var("s", relax.ShapeType(ndim=2))


@pytest.mark.parametrize("name", CASES)
def test_dims_must_agree(name: str) -> None:
    call, expected = CASES[name]
    assert agreements(call()) == expected


def test_a_tracked_shape_agrees_with_the_dims_that_it_stretches() -> None:
    call = R.broadcast_to(tensor(n, m), _SHAPE)
    assert agreements(call, {_SHAPE: entries([k, None])}) == ["0.0: n == k"]


# Relax raises on these where it cannot prove what they need, so that they are built by hand.

_RAISING: dict[str, tuple[list[relax.Var], list[str]]] = {
    "relax.vision.non_max_suppression": (
        [tensor(n, m, 6), int_tensor(j), int_tensor(n, k)],
        ["1.0: j == n", "2.1: k == m"],
    ),
    "relax.ewise_fma": ([tensor(n), tensor(8), tensor(m)], ["0.0: n == 8", "2.0: m == 8"]),
    "relax.scatter_nd": (
        [tensor(n, m), int_tensor(k, 1), tensor(j, 4)],
        ["2.0: j == k", "2.1: 4 == m"],
    ),
    "relax.multinomial_from_uniform": (
        [tensor(n, m), tensor(k, 1), int_tensor(j, 1)],
        ["1.0: k == j"],
    ),
}


@pytest.mark.parametrize("name", _RAISING)
def test_what_relax_refuses_to_infer_can_agree_all_the_same(name: str) -> None:
    arguments, expected = _RAISING[name]
    call = relax.Call(tvm.ir.Op.get(name), arguments)
    agree = row(name).agree
    assert agree is not None
    found = agree(call, [fact_of_type(a.ty) for a in arguments], arithmetic())
    assert [f"{a.argument}.{a.axis}: {a.dim} == {a.expected}" for a in found] == expected


def test_every_row_with_agreements_has_a_case() -> None:
    covered = {ROWS[typed(call()).op.name].agree for call, _ in CASES.values()}
    covered |= {ROWS[name].agree for name in _RAISING}
    assert [name for name, its in ROWS.items() if its.agree and its.agree not in covered] == []
