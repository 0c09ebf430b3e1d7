"""Combiners of reductions: how two partial results join, and what nothing reduces to."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr, TensorLoad
from tvm.tirx import BufferStore, FloatImm

__all__ = ["Combiner", "combine", "combiner_of", "identity"]


class Combiner(Enum):
    """Associative, commutative operations whose partial results may be regrouped."""

    SUM = "sum"
    PRODUCT = "product"
    MAX = "max"
    MIN = "min"
    ALL = "all"
    ANY = "any"


_NODES: dict[type, Combiner] = {
    tirx.Add: Combiner.SUM,
    tirx.Mul: Combiner.PRODUCT,
    tirx.Max: Combiner.MAX,
    tirx.Min: Combiner.MIN,
    tirx.And: Combiner.ALL,
    tirx.Or: Combiner.ANY,
}

_JOIN: dict[Combiner, Callable[[Expr, Expr], Expr]] = {c: node for node, c in _NODES.items()}


def combine(combiner: Combiner, left: Expr, right: Expr) -> Expr:
    """The expression that joins two partial results."""
    return _JOIN[combiner](left, right)


def combiner_of(value: Expr, store: BufferStore) -> tuple[Combiner, Expr] | None:
    """Split `out[i] + term` into the combiner and the term; None for other forms."""
    combiner = _NODES.get(type(value))
    if combiner is None:
        return None
    for accumulator, term in ((value.a, value.b), (value.b, value.a)):
        if (
            isinstance(accumulator, TensorLoad)
            and accumulator.source.same_as(store.buffer)
            and tvm_ffi.structural_equal(list(accumulator.indices), list(store.indices))
        ):
            return combiner, term
    return None


def identity(combiner: Combiner, start: Expr) -> Expr:
    """The value a reduction starts from.

    TVM starts a float maximum from the lowest finite number; the maximum of nothing, and of minus
    infinities, is minus infinity (ONNX ReduceMax says so too).
    """
    dtype = start.ty.dtype
    if not isinstance(start, FloatImm) or not str(dtype).startswith("float"):
        return start
    lowest = float(tirx.min_value(str(dtype)).value)
    if combiner is Combiner.MAX and float(start.value) <= lowest:
        return FloatImm(str(dtype), float("-inf"))
    if combiner is Combiner.MIN and float(start.value) >= -lowest:
        return FloatImm(str(dtype), float("inf"))
    return start
