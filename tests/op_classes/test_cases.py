"""Equality case by case, against evaluation at every small dim."""

from __future__ import annotations

import pytest
import tvm
from tvm import tirx

from tests.op_classes.harness import evaluate, m, n
from tvm_sod2.op_classes.cases import equal_in_all_cases
from tvm_sod2.op_classes.symbolic import DIM_LIMIT

EQUAL = [
    (tirx.min((n + 2) // 3, n // 3 + 1), (n + 2) // 3, 0),
    (tirx.min(n, 1) + tirx.max(n - 1, 0), n, 0),
    (tirx.max((n + 200) // 160 - 5, 0), (n + 200) // 160 - 5, 600),
    ((n - 1) // 2 + 1, n - n // 2, 0),
]
DIFFERENT = [
    ((n - 1) // 32 * 2 + 2, (n - 1) // 16 + 1, 1),
    (tirx.max((n + 200) // 160 - 5, 0), (n + 200) // 160 - 5, 0),
    (tirx.min(n, 100), n, 0),
    (n * n, n, 0),
    (n // 1000 * 1000 + n % 1000, n, 0),  # Equal, but more cases than are looked at.
    (n + m - m, n, 0),
]


def proven(a: tvm.ir.Expr, b: tvm.ir.Expr, low: int) -> bool:
    symbols = tirx.analysis.undefined_vars(a - b)
    return equal_in_all_cases(a, b, dict.fromkeys(symbols, (low, DIM_LIMIT)))


@pytest.mark.parametrize(("a", "b", "low"), EQUAL)
def test_what_is_proven_holds(a: tvm.ir.Expr, b: tvm.ir.Expr, low: int) -> None:
    assert proven(a, b, low)
    for value in range(low, low + 500):
        assert evaluate(a, {"n": value}) == evaluate(b, {"n": value}), value


@pytest.mark.parametrize(("a", "b", "low"), DIFFERENT)
def test_nothing_else_is_proven(a: tvm.ir.Expr, b: tvm.ir.Expr, low: int) -> None:
    assert not proven(a, b, low)
