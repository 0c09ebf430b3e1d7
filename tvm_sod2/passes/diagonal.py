"""What is known of a tensor on each side of a diagonal of the scores of attention.

An element of a mask belongs to a query's row and to a key. Causal masks are made of comparisons of
the two: `key <= row + late`. A `Sides` says what an element is where this holds, and where not.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import tirx

HIDING = -1e30
"""Whatever is added to it, a score of this or less has no weight beside others."""

Value = float | None
"""A number (a boolean is 0 or 1), or None where it is not known."""


@dataclass(frozen=True)
class Linear:
    """The integer row * query + key * key + rest, of a query's row and a key's number."""

    row: int
    key: int
    rest: Any

    def plus(self, other: Linear, sign: int = 1) -> Linear:
        """The sum, or the difference where `sign` is -1."""
        rest = tvm.sym.Analyzer().simplify(self.rest + sign * other.rest)
        return Linear(self.row + sign * other.row, self.key + sign * other.key, rest)


@dataclass(frozen=True)
class Sides:
    """What an element is where key > row + late (`above`), and elsewhere (`below`).

    Without `late` it is the same everywhere.
    """

    above: Value
    below: Value
    late: Any = None

    @staticmethod
    def everywhere(value: Value) -> Sides:
        return Sides(value, value)


UNKNOWN = Sides.everywhere(None)
Element = Linear | Sides


def sides(element: Element) -> Sides:
    """An integer of neither row nor key is the same on both sides."""
    if isinstance(element, Sides):
        return element
    if element.row or element.key or not isinstance(element.rest, tirx.IntImm):
        return UNKNOWN
    return Sides.everywhere(float(int(element.rest)))


def lifted(compute: Callable[..., Value], *given: Sides) -> Sides:
    """A function of numbers, on both sides of the one diagonal that decides most."""
    diagonals = [one.late for one in given if one.late is not None]
    if not diagonals:
        return Sides.everywhere(compute(*(one.above for one in given)))
    found = []
    for late in diagonals:
        along = [one if _along(one, late) else UNKNOWN for one in given]
        above, below = (
            compute(*(getattr(one, side) for one in along)) for side in ("above", "below")
        )
        found.append(Sides(above, below, late))
    # What lies above decides what can be skipped.
    return max(found, key=lambda one: (one.above is not None, one.below is not None))


def _along(one: Sides, late: Any) -> bool:
    return one.late is None or tvm.sym.Analyzer().can_prove_equal(one.late, late)


def compared(name: str, a: Linear, b: Linear) -> Sides:
    """A comparison of integers as a diagonal, where it is one."""
    one = a.plus(b, -1)
    if name in ("relax.greater", "relax.greater_equal"):
        one = Linear(-one.row, -one.key, -one.rest)
    less = 1 if name in ("relax.less", "relax.greater") else 0
    if (one.row, one.key) == (-1, 1):  # key - row + rest < or <= 0
        return Sides(0.0, 1.0, _simplify(-one.rest - less))
    if (one.row, one.key) == (1, -1):  # key >= or > row + rest
        return Sides(1.0, 0.0, _simplify(one.rest - (1 - less)))
    return UNKNOWN


def of_array(array: np.ndarray, row: Linear, key: Linear) -> Element:
    """A constant matrix read at (row, key): a number above a diagonal, perhaps one below."""
    array = array.reshape(array.shape[-2:])
    if (row.row, row.key, key.row, key.key) != (1, 0, 0, 1) or not array.size:
        same = array.size and (array == array.flat[0]).all()
        return Sides.everywhere(float(array.flat[0])) if same else UNKNOWN
    above = array[0, -1]
    others = np.argwhere(array != above)
    if not len(others):
        return Sides.everywhere(float(above))
    late = int((others[:, 1] - others[:, 0]).max())
    inside = array[np.tri(*array.shape, late, dtype=bool)]
    below = float(inside[0]) if (inside == inside[0]).all() else None
    return Sides(float(above), below, _simplify(row.rest - key.rest + late))


def _simplify(value: Any) -> Any:
    return tvm.sym.Analyzer().simplify(tirx.const(0, "int64") + value)


def _known(compute: Callable[..., float]) -> Callable[..., Value]:
    """Unknown where an operand is."""
    return lambda *values: None if None in values else float(compute(*values))


def _add(a: Value, b: Value) -> Value:
    hiding = [x for x in (a, b) if x is not None and x <= HIDING]
    if hiding:
        return min(hiding)
    return None if a is None or b is None else a + b


def _subtract(a: Value, b: Value) -> Value:
    return _add(a, None if b is None else -b)


def _minimum(a: Value, b: Value) -> Value:
    hiding = [x for x in (a, b) if x is not None and x <= HIDING]
    return min(hiding) if hiding else _known(min)(a, b)


def _multiply(a: Value, b: Value) -> Value:
    # What a mask leaves out is nothing, whatever it was.
    return 0.0 if 0.0 in (a, b) else _known(operator.mul)(a, b)


def _and(a: Value, b: Value) -> Value:
    return 0.0 if 0.0 in (a, b) else _known(lambda x, y: bool(x and y))(a, b)


def _or(a: Value, b: Value) -> Value:
    return 1.0 if 1.0 in (a, b) else _known(lambda x, y: bool(x or y))(a, b)


def _where(condition: Value, a: Value, b: Value) -> Value:
    if condition is None:
        return a if a == b else None
    return a if condition else b


POINTWISE: dict[str, Callable[..., Value]] = {
    "relax.add": _add,
    "relax.subtract": _subtract,
    "relax.multiply": _multiply,
    "relax.maximum": _known(max),
    "relax.minimum": _minimum,
    "relax.negative": _known(operator.neg),
    "relax.where": _where,
    "relax.logical_and": _and,
    "relax.bitwise_and": _and,
    "relax.logical_or": _or,
    "relax.bitwise_or": _or,
    "relax.logical_not": _known(operator.not_),
    "relax.bitwise_not": _known(operator.not_),
    "relax.equal": _known(operator.eq),
    "relax.not_equal": _known(operator.ne),
    "relax.less": _known(operator.lt),
    "relax.less_equal": _known(operator.le),
    "relax.greater": _known(operator.gt),
    "relax.greater_equal": _known(operator.ge),
}
"""Operators on numbers, by what is known of their operands."""
