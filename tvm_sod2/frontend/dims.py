"""Small algebra on dims: Python ints where a dim is known, TIR expressions otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any

import tvm
from tvm import tirx

Dim = Any  # int or a tirx expression of dtype int64


def fixed(dim: Dim) -> Dim:
    """Return an int for an integer immediate, anything else unchanged."""
    return int(dim) if isinstance(dim, int | tirx.IntImm) else dim


def is_same(a: Dim, b: Dim) -> bool:
    """Tell whether two dims are provably equal."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return bool(tvm.sym.Analyzer().can_prove_equal(expr(a), expr(b)))


def expr(dim: Dim) -> tirx.PrimExpr:
    """Return the dim as an int64 expression."""
    return tirx.const(dim, "int64") if isinstance(dim, int) else dim


def simplify(dim: Dim) -> Dim:
    """Return the dim in simplest form; every symbol in it is a dim and thus not negative."""
    if isinstance(dim, int):
        return dim
    analyzer = tvm.sym.Analyzer()
    for var in tirx.analysis.undefined_vars(dim):
        analyzer.update(var, tvm.sym.ConstIntBound(0, tvm.sym.ConstIntBound.POS_INF))
    return fixed(analyzer.simplify(dim))


def product(dims: Iterable[Dim]) -> Dim:
    """Return the product of dims."""
    return reduce(lambda a, b: simplify(a * b), dims, 1)


def minimum(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return simplify(tirx.min(expr(a), expr(b)))


def maximum(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return simplify(tirx.max(expr(a), expr(b)))


def floordiv(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    return simplify(tirx.floordiv(expr(a), expr(b)))


def ceildiv(a: Dim, b: int) -> Dim:
    return floordiv(a + (b - 1), b)


def broadcast_dims(dims: Iterable[Dim]) -> Dim | None:
    """Return the dim that aligned dims broadcast to, None where it cannot be known.

    A known dim above 1 decides whatever the others turn out to be. Raises ValueError on a conflict.
    """
    result: Dim | None = 1
    for dim in dims:
        if isinstance(dim, int) and isinstance(result, int):
            if dim != result and 1 not in (dim, result):
                raise ValueError(f"{result} and {dim} differ")
            result = dim if result == 1 else result
        elif isinstance(dim, int):
            result = result if dim == 1 else dim
        elif isinstance(result, int):
            result = dim if result == 1 else result
        elif result is not None and not is_same(result, dim):
            result = None
    return result
