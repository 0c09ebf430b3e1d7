"""Solve conditions on dims for a symbol: the backward half of RDP.

Forward transfer has written every dim as an expression over symbols. So an operator is inverted by
inverting its expression: a convolution's output forced to 14 bounds its input's height, a shared K
makes two symbols one.
"""

from __future__ import annotations

from typing import NamedTuple

import tvm
from tvm import tirx

from tvm_sod2.op_classes.expressions import Entry, symbols_of
from tvm_sod2.op_classes.symbolic import DIM_LIMIT, Arithmetic


class Interval(NamedTuple):
    """low <= symbol <= high."""

    symbol: tvm.ir.Var
    low: int
    high: int


class Solution(NamedTuple):
    """symbol == value."""

    symbol: tvm.ir.Var
    value: Entry


def interval_of(expr: tvm.ir.Expr, low: int, high: int) -> Interval | None:
    """What low <= expr <= high says of the one symbol in `expr`, or None where it is no chain of
    additions, multiplications and floor divisions by constants."""
    while not isinstance(expr, tvm.ir.Var):
        step = _peeled(expr, low, high)
        if step is None:
            return None
        expr, low, high = step
    return Interval(expr, max(low, 0), min(high, DIM_LIMIT))


def _peeled(expr: tvm.ir.Expr, low: int, high: int) -> tuple[tvm.ir.Expr, int, int] | None:
    """The operand of the outermost operation, and its bounds."""
    left, right = getattr(expr, "a", None), getattr(expr, "b", None)
    if isinstance(expr, tirx.Add | tirx.Mul) and isinstance(left, tirx.IntImm):
        left, right = right, left
    if not isinstance(right, tirx.IntImm):
        return None
    constant = int(right)
    if isinstance(expr, tirx.Add):
        return left, low - constant, high - constant
    if isinstance(expr, tirx.Sub):
        return left, low + constant, high + constant
    if isinstance(expr, tirx.Mul) and constant > 0:
        return left, -(-low // constant), high // constant
    if isinstance(expr, tirx.FloorDiv) and constant > 0:
        return left, low * constant, high * constant + constant - 1
    return None


def solve(
    a: Entry, b: Entry, rank: dict[tvm.ir.Var, int], arithmetic: Arithmetic
) -> Solution | None:
    """a == b as `symbol == value`, for the symbol of the highest rank it is linear in with factor
    1 or -1; None where there is none. Symbols without a rank are not solved for, nor is one for
    what the run binds later."""
    difference = arithmetic.subtract(a, b)
    if difference is None or isinstance(difference, int):
        return None
    symbols = dict.fromkeys(symbols_of(difference))
    for symbol in sorted((s for s in symbols if s in rank), key=lambda s: -rank[s]):
        linear = tvm.sym.detect_linear_equation(difference, [symbol])
        if len(linear) != 2 or not isinstance(linear[0], tirx.IntImm):
            continue
        factor, rest = int(linear[0]), linear[1]
        if any(not arithmetic.known_at_entry(s) and rank.get(s, 0) > rank[symbol] for s in symbols):
            continue
        if abs(factor) == 1 and not any(s.same_as(symbol) for s in symbols_of(rest)):
            value = arithmetic.multiply(arithmetic.simplify(rest), -factor)
            return Solution(symbol, arithmetic.simplify(value))
    return None
