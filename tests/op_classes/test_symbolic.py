"""Arithmetic on entries: what is decided, what is simplified, what stays unknown."""

from __future__ import annotations

import pytest
from tvm import tirx

from tvm_sod2.memory.text import compile_size, to_python
from tvm_sod2.op_classes import Arithmetic
from tvm_sod2.op_classes.values.elementwise import GREATER, equal_to


@pytest.fixture
def symbols() -> tuple[Arithmetic, tirx.Var, tirx.Var]:
    arithmetic, n, m = Arithmetic(), tirx.Var("n", "int64"), tirx.Var("m", "int64")
    arithmetic.bind(n)
    arithmetic.bind(m)
    return arithmetic, n, m


def test_constants_stay_python_ints(symbols) -> None:
    a, _, _ = symbols
    assert a.add(2, 3) == 5
    assert a.floor_divide(-7, 2) == -4
    assert a.trunc_divide(-7, 2) == -3
    assert a.maximum(2, 3) == 3
    assert a.select(1, 10, 20) == 10


def test_unknown_makes_unknown(symbols) -> None:
    a, n, _ = symbols
    for result in (a.add(None, 1), a.multiply(n, None), a.floor_divide(n, 0), a.select(None, n, 1)):
        assert result is None


def test_common_factors_of_products_cancel(symbols) -> None:
    a, n, m = symbols
    half = a.floor_divide(a.add(m, 1), 2)
    product = a.multiply(a.multiply(n, half), 24)
    assert a.equal(a.floor_divide(product, a.multiply(n, 24)), half)
    assert a.equal(a.floor_divide(product, a.multiply(n, 8)), a.multiply(half, 3))


def test_a_divisor_guarded_against_zero_counts_as_itself(symbols) -> None:
    a, n, m = symbols
    guarded = a.maximum(a.multiply(n, 120), 1)
    assert a.equal(a.floor_divide(a.multiply(a.multiply(n, m), 120), guarded), m)


def test_a_guard_stays_where_the_divisor_does_not_cancel(symbols) -> None:
    a, n, m = symbols
    quotient = a.floor_divide(n, a.maximum(a.floor_divide(m, 2), 1))
    evaluate = compile_size(to_python(quotient))
    assert evaluate({"n": 7, "m": 1}) == 7
    assert evaluate({"n": 7, "m": 6}) == 2


def test_dims_are_never_negative(symbols) -> None:
    a, n, _ = symbols
    assert a.compare(equal_to, n, -1) == 0
    assert a.absolute(n) is n
    assert a.maximum(n, 0) is n or a.equal(a.maximum(n, 0), n)


def test_bounds_decide_comparisons(symbols) -> None:
    a, n, _ = symbols
    assert not isinstance(a.compare(GREATER, n, 4), int)
    a.bind(n, 5, 9)
    assert a.compare(GREATER, n, 4) == 1
    assert a.compare(GREATER, n, 9) == 0


def test_an_undecided_choice_stays_a_choice(symbols) -> None:
    a, n, m = symbols
    chosen = a.select(a.compare(equal_to, n, 0), 7, m)
    evaluate = compile_size(to_python(chosen))
    assert evaluate({"n": 0, "m": 3}) == 7
    assert evaluate({"n": 2, "m": 3}) == 3


def test_a_choice_between_equals_is_no_choice(symbols) -> None:
    a, n, _ = symbols
    assert a.select(a.compare(equal_to, n, 1), 1, n) is n
    assert a.select(a.compare(equal_to, n, 0), a.minimum(n, 9), n) is n
    assert isinstance(a.select(a.compare(equal_to, n, 0), a.minimum(n, 9), 3), tirx.Select)


@pytest.mark.parametrize("dims", [(1, 1), (7, 13), (31, 32), (100, 1)])
def test_expressions_agree_with_python(symbols, dims) -> None:
    a, n, m = symbols
    pool = a.add(a.floor_divide(a.subtract(n, 5), 8), 1)
    for built, expected in [
        (pool, (dims[0] - 5) // 8 + 1),
        (a.floor_modulo(a.multiply(n, m), 6), dims[0] * dims[1] % 6),
        (a.minimum(a.multiply(n, 2), a.add(m, 3)), min(dims[0] * 2, dims[1] + 3)),
    ]:
        assert compile_size(to_python(built))({"n": dims[0], "m": dims[1]}) == expected
