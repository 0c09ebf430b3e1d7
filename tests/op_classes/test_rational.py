"""Fractions in float shape arithmetic, against float32 itself."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.op_classes.harness import arithmetic, evaluate, k, m, n, text
from tvm_sod2.op_classes import Arithmetic, rational
from tvm_sod2.op_classes.rational import FLOAT_LIMIT, LARGE_DIM, Rational
from tvm_sod2.op_classes.values.elementwise import LESS

_SCALES = (0.5, 1.5, 0.25, 2.0, 0.75, 3.0, 0.0625, 2.5)
_DIMS = st.integers(0, LARGE_DIM)


@pytest.fixture
def known() -> Arithmetic:
    return arithmetic()


@settings(max_examples=200, deadline=None)
@given(scale=st.sampled_from(_SCALES), dim=_DIMS, up=st.booleans())
def test_scaled_dims_are_what_float32_makes_of_them(scale: float, dim: int, up: bool) -> None:
    knowledge = arithmetic()
    product = knowledge.multiply(n, rational.from_float(scale))
    whole = (rational.ceil if up else rational.floor)(knowledge, product)
    in_float = np.float32(dim) * np.float32(scale)
    expected = int(np.ceil(in_float) if up else np.floor(in_float))
    assert evaluate(whole, {"n": dim}) == expected


@settings(max_examples=200, deadline=None)
@given(divisor=st.integers(1, 100), dim=st.integers(0, FLOAT_LIMIT - 1), up=st.booleans())
def test_quotients_are_rounded_to_the_same_whole_number(divisor: int, dim: int, up: bool) -> None:
    knowledge = arithmetic()
    entry = (rational.ceil if up else rational.floor)(knowledge, knowledge.divide(n, divisor))
    in_float = np.float32(dim) / np.float32(divisor)
    assert evaluate(entry, {"n": dim}) == int(np.ceil(in_float) if up else np.floor(in_float))


@settings(max_examples=100, deadline=None)
@given(a=st.sampled_from(_SCALES), b=st.sampled_from(_SCALES), dims=st.tuples(_DIMS, _DIMS))
def test_sums_and_differences_are_exact(a: float, b: float, dims: tuple[int, int]) -> None:
    knowledge = arithmetic()
    left = knowledge.multiply(n, rational.from_float(a))
    right = knowledge.multiply(m, rational.from_float(b))
    env = {"n": dims[0], "m": dims[1]}
    floats = np.float32(dims[0]) * np.float32(a), np.float32(dims[1]) * np.float32(b)
    for operation, expected in [
        (knowledge.add, floats[0] + floats[1]),
        (knowledge.subtract, floats[0] - floats[1]),
        (knowledge.maximum, max(floats)),
        (knowledge.minimum, min(floats)),
    ]:
        assert evaluate(operation(left, right), env) == Fraction(float(expected))


def test_a_half_of_a_double_is_whole(known: Arithmetic) -> None:
    assert text(known.multiply(known.multiply(n, 2), Rational(1, 2))) == "n"
    reduced = known.multiply(known.multiply(n, 6), Rational(1, 4))
    assert isinstance(reduced, Rational)
    assert (text(reduced.numerator), reduced.denominator) == ("n * 3", 2)
    assert known.divide(12, 4) == 3


def test_floor_of_a_scaled_dim_is_a_quotient(known: Arithmetic) -> None:
    assert text(rational.floor(known, known.multiply(n, Rational(3, 2)))) == "n * 3 // 2"
    assert text(rational.ceil(known, known.multiply(n, Rational(1, 2)))) == "(n + 1) // 2"
    assert text(rational.truncate(known, known.divide(n, 32))) == "n // 32"


def test_scales_with_many_digits_are_refused(known: Arithmetic) -> None:
    """The float32 nearest to 1/3 or 1.1 times a dim is rounded: nobody knows to which side."""
    for scale in (1 / 3, 1.1, 2.0**-20):
        assert rational.from_float(float(np.float32(scale))) is None
    assert known.multiply(n, Rational(1025, 1024)) is None
    assert isinstance(known.multiply(n, Rational(255, 256)), Rational)


def test_bounds_admit_scales_with_more_digits() -> None:
    known = Arithmetic()
    known.bind(n, 1, 512)
    assert isinstance(known.multiply(n, Rational(1025, 1024)), Rational)


def test_products_of_dims_are_refused_as_fractions(known: Arithmetic) -> None:
    assert known.multiply(known.multiply(n, m), Rational(1, 2)) is None


def test_a_rounded_quotient_is_only_good_for_rounding(known: Arithmetic) -> None:
    third = known.divide(n, 3)
    assert isinstance(third, Rational) and not third.exact
    assert known.multiply(third, 3) is None
    assert known.add(third, 1) is None
    assert known.compare(LESS, third, 1) is None
    assert known.divide(third, 2) is None
    assert known.equal(third, known.divide(n, 3))


def test_what_has_no_quotient_is_unknown(known: Arithmetic) -> None:
    assert known.divide(n, 0) is None
    assert known.divide(n, m) is None
    assert known.divide(None, 2) is None
    assert known.multiply(None, Rational(1, 2)) is None


def test_negative_fractions_truncate_toward_zero(known: Arithmetic) -> None:
    assert rational.truncate(known, Rational(-3, 2)) == -1
    assert rational.floor(known, Rational(-3, 2)) == -2
    assert rational.ceil(known, Rational(-3, 2)) == -1
    assert rational.truncate(known, Rational(known.subtract(n, 5), 2)) is None


def test_halves_round_to_even(known: Arithmetic) -> None:
    assert [rational.round_half_even(known, Rational(x, 2)) for x in (1, 3, 5)] == [0, 2, 2]
    assert rational.round_half_even(known, Rational(n, 2)) is None


def test_comparisons_of_fractions(known: Arithmetic) -> None:
    assert known.compare(LESS, Rational(1, 2), Rational(3, 4)) == 1
    assert known.compare(LESS, Rational(n, 2), 0) == 0
    assert known.differ(Rational(1, 2), 1)
    assert not known.equal(Rational(n, 2), Rational(m, 2))
    assert known.not_negative(Rational(n, 2))


def test_a_choice_between_fractions(known: Arithmetic) -> None:
    condition = known.compare(LESS, k, 3)
    chosen = known.select(condition, Rational(n, 2), 4)
    for size in (1, 7):
        expected = Fraction(5, 2) if size < 3 else 4
        assert evaluate(chosen, {"n": 5, "k": size}) == expected
