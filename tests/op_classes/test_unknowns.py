"""Transfers on operands of which nothing but the rank is known, or not even that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from tests.op_classes import agreement_cases, dims_cases, value_cases, value_cases_movement
from tests.op_classes.harness import arithmetic, facts_of, typed
from tvm_sod2.op_classes import Fact, row

_CALLS: dict[str, Callable[[], Any]] = {
    **{f"dims: {case.name}": case.call for case in dims_cases.CASES},
    **{f"agreement: {name}": call for name, (call, _) in agreement_cases.CASES.items()},
}
for _case in [*value_cases.CASES, *value_cases_movement.CASES]:
    _CALLS[f"value: {_case.name}"] = lambda c=_case: c.call(
        *[
            relax.Var(f"x{i}", relax.TensorType(array.shape, c.dtype(i)))
            for i, array in enumerate(c.arrays)
        ]
    )


def _forgotten(fact: Fact, keep_rank: bool) -> Fact:
    if fact.fields:
        fields = tuple(_forgotten(field, keep_rank) for field in fact.fields)
        return Fact(relax.TupleType([f.ty for f in fields]), fields=fields)
    if isinstance(fact.ty, relax.ShapeType):
        return Fact(relax.ShapeType(ndim=fact.ty.ndim if keep_rank else -1))
    if isinstance(fact.ty, tvm.ir.PrimType):
        return Fact(fact.ty)
    return Fact(relax.TensorType(dtype=fact.ty.dtype, ndim=fact.ty.ndim if keep_rank else -1))


@pytest.mark.parametrize("keep_rank", [True, False], ids=["rank", "nothing"])
@pytest.mark.parametrize("name", _CALLS)
def test_nothing_comes_from_nothing(name: str, keep_rank: bool) -> None:
    call = typed(_CALLS[name]())
    its = row(call.op.name)
    facts = [_forgotten(fact, keep_rank) for fact in facts_of(call, {})]
    if its.agree is not None:
        assert its.agree(call, facts, arithmetic()) == []
    if its.value is not None and call.args:
        _says_nothing(its.value(call, facts, arithmetic()), call)
    if its.dims is not None:
        found = its.dims(call, facts, arithmetic())
        for dims in found if isinstance(found, tuple) else (found,):
            assert dims is None or all(dim is None or isinstance(dim, int) for dim in dims)


def _says_nothing(found: Any, call: relax.Call) -> None:
    """But for what depends on the type of the call alone, as zeros_like does."""
    if isinstance(found, tuple):
        for part in found:
            _says_nothing(part, call)
    elif found is not None and call.op.name not in ("relax.zeros_like", "relax.ones_like"):
        assert all(entry is None for entry in np.asarray(found, dtype=object).flat)
