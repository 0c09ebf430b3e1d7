"""Entry by entry, with broadcasting."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from tvm import tirx

from tvm_sod2.op_classes import rational
from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import Fact
from tvm_sod2.op_classes.row import Values, ValueTransfer
from tvm_sod2.op_classes.symbolic import Arithmetic
from tvm_sod2.op_classes.values.common import each, is_small, number, stored

LESS, LESS_EQUAL, GREATER, GREATER_EQUAL = operator.lt, operator.le, operator.gt, operator.ge


def equal_to(a: Any, b: Any) -> Any:
    """a == b; Python's own operator compares expressions by identity."""
    return a == b if isinstance(a, int) else tirx.EQ(a, b)


def unequal_to(a: Any, b: Any) -> Any:
    """a != b, likewise."""
    return a != b if isinstance(a, int) else tirx.NE(a, b)


def elementwise(function: Callable[..., Entry]) -> ValueTransfer:
    """Entry by entry with broadcasting; `function(arithmetic, *entries) -> entry`."""

    def transfer(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
        if any(fact.value is None for fact in facts):
            return None
        arrays = [fact.array for fact in facts]
        if not is_small(np.broadcast(*arrays).size if len(arrays) > 1 else arrays[0].size):
            return None
        dtype = str(call.ty.dtype)

        def entry(*args: Entry) -> Entry:
            return stored(arithmetic, function(arithmetic, *args), dtype)

        return np.asarray(np.frompyfunc(entry, len(arrays), 1)(*arrays), dtype=object)

    return transfer


def integers(function: Callable[..., int | None]) -> ValueTransfer:
    """Entry by entry where all operands are constants; `function(*ints) -> int`."""

    def entry(_arithmetic: Arithmetic, *args: Entry) -> Entry:
        return function(*args) if all(isinstance(a, int) for a in args) else None

    return elementwise(entry)


def comparison(relation: Callable[[Any, Any], Any]) -> ValueTransfer:
    """1 or 0 where all values of the symbols decide the relation, a condition elsewhere."""
    numbers = elementwise(lambda arithmetic, a, b: arithmetic.compare(relation, a, b))

    def transfer(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
        if any(_is_bool(fact) for fact in facts):
            return None
        return numbers(call, facts, arithmetic)

    return transfer


def equality(relation: Callable[[Any, Any], Any], negated: bool) -> ValueTransfer:
    """equal and not_equal, of numbers or of truth values."""
    numbers = comparison(relation)

    def truths(arithmetic: Arithmetic, a: Entry, b: Entry) -> Entry:
        differ = exclusive(arithmetic, a, b)
        return differ if negated else arithmetic.inverse(differ)

    def transfer(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
        if all(_is_bool(fact) for fact in facts):
            return elementwise(truths)(call, facts, arithmetic)
        return numbers(call, facts, arithmetic)

    return transfer


def exclusive(arithmetic: Arithmetic, a: Entry, b: Entry) -> Entry:
    """Exclusive or of two truth values."""
    if isinstance(a, int):
        return arithmetic.inverse(b) if a else b
    if isinstance(b, int):
        return arithmetic.inverse(a) if b else a
    one = arithmetic.both(a, arithmetic.inverse(b))
    return arithmetic.either(one, arithmetic.both(arithmetic.inverse(a), b))


def truth(on_truths: Callable[..., Entry], on_ints: Callable[..., int]) -> ValueTransfer:
    """A bitwise operator: of truth values a logical one, of integers on constants only."""

    def transfer(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
        logical = all(_is_bool(fact) for fact in facts)
        chosen = elementwise(on_truths) if logical else integers(on_ints)
        return chosen(call, facts, arithmetic)

    return transfer


def identity(_call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    return facts[0].value


def always(constant: int) -> ValueTransfer:
    """The same for every tracked entry, which is a finite number."""
    return elementwise(lambda _arithmetic, entry: None if entry is None else constant)


def cast(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
    """To an integer type a float is truncated; truth values are 1 and 0."""
    value, dtype = facts[0].value, str(call.attrs.dtype)
    if value is None:
        return None
    if _is_bool(facts[0]):
        if dtype == "bool":
            return value
        return each(value, lambda entry: arithmetic.select(entry, 1, 0))
    if dtype == "bool":
        return each(value, lambda entry: arithmetic.compare(unequal_to, entry, 0))
    if not dtype.startswith(("float", "bfloat")):
        value = each(value, lambda entry: rational.truncate(arithmetic, entry))
    return each(value, lambda entry: stored(arithmetic, entry, dtype))


def quotient(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
    """divide: integers toward zero; floats where float32 is exact enough, see rational.py."""
    if str(call.ty.dtype).startswith("float"):
        return elementwise(Arithmetic.divide)(call, facts, arithmetic)
    return elementwise(Arithmetic.trunc_divide)(call, facts, arithmetic)


def truncated_modulo(arithmetic: Arithmetic, a: Entry, b: Entry) -> Entry:
    """mod: the remainder has the sign of the dividend, as in C."""
    if isinstance(a, int) and isinstance(b, int):
        return int(math.fmod(a, b)) if b and abs(a) < 1 << 53 else None
    if arithmetic.not_negative(a) and isinstance(b, int) and b > 0:
        return arithmetic.floor_modulo(a, b)
    return None


def power(arithmetic: Arithmetic, base: Entry, exponent: Entry) -> Entry:
    """A whole exponent from 0 to 4 of an expression; of constants, any that stays an integer."""
    if not isinstance(exponent, int) or exponent < 0 or base is None:
        return None
    if isinstance(base, int):
        return base**exponent if exponent <= 64 else None
    if exponent > 4:
        return None
    result: Entry = 1
    for _ in range(exponent):
        result = arithmetic.multiply(result, base)
    return result


def square(arithmetic: Arithmetic, entry: Entry) -> Entry:
    return power(arithmetic, entry, 2)


def root(_arithmetic: Arithmetic, entry: Entry) -> Entry:
    """The square root of a constant that has a whole one."""
    if not isinstance(entry, int) or entry < 0:
        return None
    whole = math.isqrt(entry)
    return whole if whole * whole == entry else None


def sign(arithmetic: Arithmetic, entry: Entry) -> Entry:
    """-1, 0 or 1; of a dim the smaller of it and 1."""
    if isinstance(entry, int):
        return (entry > 0) - (entry < 0)
    if rational.among(entry) or not arithmetic.not_negative(entry):
        return None
    return arithmetic.minimum(entry, 1)


def shift_left(arithmetic: Arithmetic, entry: Entry, bits: Entry) -> Entry:
    if not isinstance(bits, int) or not 0 <= bits < 63:
        return None
    return arithmetic.multiply(entry, 1 << bits)


def shift_right(arithmetic: Arithmetic, entry: Entry, bits: Entry) -> Entry:
    """Arithmetic shift: a quotient rounded down."""
    if not isinstance(bits, int) or not 0 <= bits < 63:
        return None
    return arithmetic.floor_divide(entry, 1 << bits)


def clip(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
    low, high = (number(call.args[i], facts[i]) for i in (1, 2))
    limits = [Fact(facts[0].ty, np.asarray(bound, dtype=object)) for bound in (low, high)]
    transfer = elementwise(lambda a, x, lo, hi: a.minimum(a.maximum(x, lo), hi))
    return transfer(call, [facts[0], *limits], arithmetic)


def fused_multiply_add(arithmetic: Arithmetic, a: Entry, b: Entry, c: Entry) -> Entry:
    return arithmetic.add(arithmetic.multiply(a, b), c)


def positive_part(arithmetic: Arithmetic, entry: Entry) -> Entry:
    """relu."""
    return arithmetic.maximum(entry, 0)


def _is_bool(fact: Fact) -> bool:
    return str(getattr(fact.ty, "dtype", "")) == "bool"
