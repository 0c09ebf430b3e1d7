"""Quotients of products: what both have as a factor goes."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import tirx

from tvm_sod2.op_classes.expressions import Entry, as_expr


def without_guard(divisor: Entry) -> Entry:
    """d where the divisor is max(d, 1)."""
    if isinstance(divisor, tirx.Max) and isinstance(divisor.b, tirx.IntImm) and divisor.b == 1:
        return divisor.a
    return divisor


def _factors(entry: Entry) -> tuple[int, list[tvm.ir.Expr]]:
    """The constant and the symbolic factors of a product."""
    if isinstance(entry, int):
        return entry, []
    if isinstance(entry, tirx.IntImm):
        return int(entry), []
    if isinstance(entry, tirx.Mul):
        left, right = _factors(entry.a), _factors(entry.b)
        return left[0] * right[0], left[1] + right[1]
    return 1, [entry]


def cancelled(equal: Callable[[Entry, Entry], bool], a: Entry, b: Entry) -> tuple[Entry, Entry]:
    """a and b without their common factors."""
    (scale_a, factors_a), (scale_b, factors_b) = _factors(a), _factors(b)
    rest_b: list[tvm.ir.Expr] = []
    for factor in factors_b:
        match = next((f for f in factors_a if equal(f, factor)), None)
        if match is None:
            rest_b.append(factor)
        else:
            factors_a.remove(match)
    if scale_b != 0 and scale_a % scale_b == 0:
        scale_a, scale_b = scale_a // scale_b, 1
    return _product(scale_a, factors_a), _product(scale_b, rest_b)


def _product(scale: int, factors: list[tvm.ir.Expr]) -> Entry:
    result: Entry = scale
    for factor in factors:
        result = factor if isinstance(result, int) and result == 1 else as_expr(result) * factor
    return result
