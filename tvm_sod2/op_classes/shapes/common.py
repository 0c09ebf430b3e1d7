"""What the transfers of dims and the agreements share."""

from __future__ import annotations

from typing import NamedTuple

import tvm

from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import Fact, entries
from tvm_sod2.op_classes.row import Agreement, Agreements
from tvm_sod2.op_classes.symbolic import Arithmetic


def dims_of(fact: Fact) -> list[Entry] | None:
    """The dims as entries, or None where the rank at most is known."""
    dims = fact.dims
    return None if dims is None else list(entries(dims))


class Place(NamedTuple):
    """A dim of an argument."""

    argument: int
    axis: int
    dim: Entry


def place(facts: list[Fact], argument: int, axis: int) -> Place | None:
    """The dim of an argument at an axis, which may count from the end; None when not known."""
    dims = dims_of(facts[argument]) if argument < len(facts) else None
    if dims is None or not -len(dims) <= axis < len(dims):
        return None
    return Place(argument, axis % len(dims), dims[axis])


def must_equal(arithmetic: Arithmetic, a: Place | None, b: Place | None) -> list[Agreement]:
    """The agreement of two dims: the one that is not a constant is stated to be the other."""
    if a is None or b is None or a.dim is None or b.dim is None:
        return []
    if arithmetic.equal(a.dim, b.dim):
        return []
    if isinstance(a.dim, int):
        a, b = b, a
    return [Agreement(*a, b.dim)]


def must_be(arithmetic: Arithmetic, a: Place | None, expected: Entry) -> list[Agreement]:
    """The agreement of a dim with a value."""
    if a is None or a.dim is None or expected is None or arithmetic.equal(a.dim, expected):
        return []
    return [Agreement(*a, expected)]


def representative(column: list[Entry]) -> Entry:
    """One dim to stand for equal ones: an int when there is one."""
    return next((d for d in column if isinstance(d, int)), column[0])


def product(arithmetic: Arithmetic, dims: list[Entry]) -> Entry:
    count: Entry = 1
    for dim in dims:
        count = arithmetic.multiply(count, dim)
    return count


def letter(layout: object, name: str) -> int | None:
    """The axis of a letter in a layout such as NCHW; None where a factor is split off (NCHW16c)."""
    text = str(layout)
    return text.index(name) if text.isalpha() and text.isupper() and name in text else None


def same_dims(*pairs: tuple[tuple[int, int], tuple[int, int]]) -> Agreements:
    """Agreements of pairs of (argument, axis)."""

    def agree(_call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> list[Agreement]:
        found: list[Agreement] = []
        for a, b in pairs:
            found += must_equal(arithmetic, place(facts, *a), place(facts, *b))
        return found

    return agree
