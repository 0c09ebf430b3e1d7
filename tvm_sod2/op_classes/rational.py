"""Entries of float tensors that are no whole numbers: p / q with an integer p over dims.

Exporters compute sizes in float32, `floor(dim * 1.5)`. A fraction whose denominator is a power of
two and whose numerator is below 2^24 is a float32, so that sums and products of such entries are
exact. A quotient by another integer is rounded, but not past a whole number (n and d below 2^24:
n / d lies at least 1/d from one, and rounding moves it by less), so floor, ceil and trunc of it are
exact as well; anything else that is done to it makes it unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import tvm
from tvm import tirx

if TYPE_CHECKING:
    from tvm_sod2.op_classes.expressions import Entry
    from tvm_sod2.op_classes.symbolic import Arithmetic

FLOAT_LIMIT = 1 << 24
"""Integers up to here are float32 values."""

LARGE_DIM = 1 << 16
"""A fraction is tracked where it is exact for all dims up to this one (or their own bound)."""

MAX_DENOMINATOR = 1 << 16


@dataclass(frozen=True)
class Rational:
    """numerator / denominator: an int or an expression over dims, and an int above 1."""

    numerator: Any
    denominator: int

    @property
    def exact(self) -> bool:
        """Whether float32 holds the fraction without rounding it."""
        return self.denominator & (self.denominator - 1) == 0


def among(*operands: Entry) -> bool:
    """Whether one of the operands is a Rational."""
    return any(isinstance(operand, Rational) for operand in operands)


def from_float(number: float) -> Entry:
    """The entry of a float constant: an int, a Rational, or None for one that is not simple."""
    if number != number or abs(number) >= FLOAT_LIMIT:
        return None
    fraction = Fraction(number)
    if fraction.denominator == 1:
        return fraction.numerator
    if fraction.denominator > MAX_DENOMINATOR:
        return None
    return Rational(fraction.numerator, fraction.denominator)


def quotient(arithmetic: Arithmetic, numerator: Entry, denominator: int) -> Entry:
    """numerator / denominator in lowest terms, None where float32 would round it."""
    if denominator < 0:
        numerator, denominator = arithmetic.negate(numerator), -denominator
    for prime in _primes(denominator):
        while denominator % prime == 0 and _divides(arithmetic, prime, numerator):
            numerator, denominator = arithmetic.floor_divide(numerator, prime), denominator // prime
    if numerator is None or denominator == 1:
        return numerator
    if denominator > MAX_DENOMINATOR or not _fits(arithmetic, numerator):
        return None
    return Rational(numerator, denominator)


def divide(arithmetic: Arithmetic, a: Entry, b: Entry) -> Entry:
    """The quotient of two float entries, None where it is not exact enough (see the module)."""
    if isinstance(b, Rational):
        if not b.exact or not isinstance(b.numerator, int):
            return None
        a, b = arithmetic.multiply(a, b.denominator), b.numerator
    if a is None or not isinstance(b, int) or b == 0:
        return None
    if not isinstance(a, Rational):
        return quotient(arithmetic, a, b)
    return quotient(arithmetic, a.numerator, a.denominator * b) if a.exact else None


def combine(
    arithmetic: Arithmetic, operation: Callable[[Any, Any], Entry], a: Entry, b: Entry
) -> Entry:
    """An operation that commutes with scaling (sum, difference, minimum, maximum, choice)."""
    aligned = align(arithmetic, a, b)
    if aligned is None:
        return None
    left, right, denominator = aligned
    return quotient(arithmetic, operation(left, right), denominator)


def multiply(arithmetic: Arithmetic, a: Entry, b: Entry) -> Entry:
    """The product of two entries, one of which at least is a Rational."""
    (p, q), (r, s) = _parts(a), _parts(b)
    if p is None or r is None:
        return None
    return quotient(arithmetic, arithmetic.multiply(p, r), q * s)


def align(arithmetic: Arithmetic, a: Entry, b: Entry) -> tuple[Entry, Entry, int] | None:
    """Numerators of a and b over one denominator; None where one of them is rounded or unknown."""
    (p, q), (r, s) = _parts(a), _parts(b)
    if p is None or r is None:
        return None
    common = max(q, s)  # Both are powers of two.
    return arithmetic.multiply(p, common // q), arithmetic.multiply(r, common // s), common


def floor(arithmetic: Arithmetic, entry: Entry) -> Entry:
    if not isinstance(entry, Rational):
        return entry
    return arithmetic.floor_divide(entry.numerator, entry.denominator)


def ceil(arithmetic: Arithmetic, entry: Entry) -> Entry:
    if not isinstance(entry, Rational):
        return entry
    raised = arithmetic.add(entry.numerator, entry.denominator - 1)
    return arithmetic.floor_divide(raised, entry.denominator)


def truncate(arithmetic: Arithmetic, entry: Entry) -> Entry:
    """Rounded toward zero, as a cast to an integer type does."""
    if not isinstance(entry, Rational):
        return entry
    if isinstance(entry.numerator, int) and entry.numerator < 0:
        return ceil(arithmetic, entry)
    return floor(arithmetic, entry) if arithmetic.not_negative(entry.numerator) else None


def round_half_even(_arithmetic: Arithmetic, entry: Entry) -> Entry:
    """The nearest whole number of a constant; of an expression the remainder decides: unknown."""
    if not isinstance(entry, Rational):
        return entry
    if not isinstance(entry.numerator, int) or not entry.exact:
        return None
    return round(Fraction(entry.numerator, entry.denominator))


def _parts(entry: Entry) -> tuple[Entry, int]:
    """Numerator and denominator; the numerator is None where the entry is unknown or rounded."""
    if not isinstance(entry, Rational):
        return entry, 1
    return (entry.numerator, entry.denominator) if entry.exact else (None, entry.denominator)


def _divides(arithmetic: Arithmetic, divisor: int, entry: Entry) -> bool:
    rest = arithmetic.floor_modulo(entry, divisor)
    return isinstance(rest, int) and rest == 0 and entry is not None


def _primes(number: int) -> list[int]:
    """The prime factors of a small number, each once."""
    if number > MAX_DENOMINATOR * MAX_DENOMINATOR:
        return []
    found, candidate = [], 2
    while candidate * candidate <= number:
        if number % candidate == 0:
            found.append(candidate)
            while number % candidate == 0:
                number //= candidate
        candidate += 1
    return [*found, number] if number > 1 else found


def _fits(arithmetic: Arithmetic, numerator: Entry) -> bool:
    """Whether the numerator is below 2^24 for all dims up to LARGE_DIM or to their bound."""
    if isinstance(numerator, int):
        return abs(numerator) < FLOAT_LIMIT
    analyzer = tvm.sym.Analyzer()
    for symbol, (low, high) in arithmetic.bounds_of(numerator).items():
        extent = tirx.const(max(min(high, LARGE_DIM) - low, 0) + 1, "int64")
        analyzer.bind(symbol, tvm.ir.Range.from_min_extent(tirx.const(low, "int64"), extent))
    bound = analyzer.const_int_bound(numerator)
    return bound.min_value >= -FLOAT_LIMIT and bound.max_value <= FLOAT_LIMIT
