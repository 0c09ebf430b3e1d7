"""Equality of two expressions over one dim, case by case.

The analyzer does not see that min((n + 2) // 3, n // 3 + 1) is (n + 2) // 3. But every dim is
n = 3 * q + r, and for each r the divisions are gone: min(q + (r + 2) // 3, q + 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import tvm
import tvm_ffi
from tvm import tirx

MAX_PERIOD = 256
"""Cases that are looked at; each costs a fraction of a millisecond."""

_SINGLES = 3
"""The first values of q are looked at one by one: there max(q - 1, 0) and the like change."""


def equal_in_all_cases(
    a: tvm.ir.Expr, b: tvm.ir.Expr, bounds: Mapping[tvm.ir.Var, tuple[int, int]]
) -> bool:
    """Whether a == b for every value of their only symbol; False where there are several.

    bounds: (low, high) of each symbol in them, inclusive.
    """
    if len(bounds) != 1:
        return False
    ((symbol, (low, high)),) = bounds.items()
    difference = a - b
    period = _period(difference)
    if period > MAX_PERIOD or not all(_vanishes(difference, symbol, low + i) for i in range(3)):
        return False
    analyzer = tvm.sym.Analyzer()
    quotient = tirx.Var("q", "int64")
    rest = tirx.const((high - low) // period + 1, "int64")
    analyzer.bind(quotient, tvm.ir.Range.from_min_extent(tirx.const(0, "int64"), rest))
    for start in range(low, low + period):
        singles = (start + period * i for i in range(_SINGLES))
        if not all(_vanishes(difference, symbol, value) for value in singles):
            return False
        beyond = quotient * period + (start + period * _SINGLES)
        case = _at(difference, symbol, beyond)
        if not analyzer.can_prove_equal(case, tirx.const(0, "int64")):
            return False
    return True


def _period(expr: tvm.ir.Expr) -> int:
    """The least common multiple of the constants that are divided by; huge for other divisors."""
    found = 1

    def visit(node: tvm.ir.Expr) -> None:
        nonlocal found
        constant = isinstance(node.b, tirx.IntImm) and int(node.b) > 0
        found = math.lcm(found, int(node.b)) if constant else MAX_PERIOD + 1

    tvm_ffi.structural_walk(expr, [(tirx.FloorDiv, visit), (tirx.FloorMod, visit)])
    return found


def _at(expr: tvm.ir.Expr, symbol: tvm.ir.Var, value: tvm.ir.Expr) -> tvm.ir.Expr:
    return tvm_ffi.structural_map(expr, (tvm.ir.Var, lambda v: value if v.same_as(symbol) else v))


def _vanishes(expr: tvm.ir.Expr, symbol: tvm.ir.Var, value: int) -> bool:
    found = tvm.sym.Analyzer().simplify(_at(expr, symbol, tirx.const(value, "int64")))
    return isinstance(found, tirx.IntImm) and int(found) == 0
