"""Splits a nest where a condition on one loop variable changes its answer.

Concat and pad arrive as nested `if_then_else(k <= i, ..., ...)`, which would put a choice in front
of every element. Before: ``for i in range(n): y[i] = if_then_else(k <= i, b[i-k], a[i])``.
After: ``for i in range(k): y[i] = a[i]`` and ``for i in range(n-k): y[k+i] = b[i]``.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr
from tvm.tirx import IntImm, Var

from tvm_sod2.schedules.rules.access import Memory, Nest, rename
from tvm_sod2.schedules.rules.loops import i64, static
from tvm_sod2.schedules.rules.polynomial import Polynomials
from tvm_sod2.schedules.rules.program import Axis

__all__ = ["Threshold", "comparisons_of", "find_threshold", "split_regions", "threshold"]

_MOST_REGIONS = 16

_COMPARISONS = (tirx.LT, tirx.LE, tirx.GT, tirx.GE)


@dataclass(frozen=True)
class Threshold:
    """A comparison that is `above` for `var >= at` and the opposite below."""

    comparison: Expr
    axis: Axis
    at: Expr
    above: bool


def split_regions(memory: Memory, nest: Nest) -> list[Nest]:
    """Nests of disjoint regions that together are `nest`, without the conditions that were split.

    In a region every axis runs from zero again. Gives `[nest]` where nothing can be split.
    """
    done: list[Nest] = []
    pending = [nest]
    while pending:
        current = pending.pop(0)
        found = find_threshold(memory.polynomials, current.value, current.axes)
        if found is None or len(done) + len(pending) >= _MOST_REGIONS:
            done.append(current)
            continue
        pending[:0] = [part for part in _split(memory, current, found) if part is not None]
    return done


def find_threshold(
    polynomials: Polynomials, value: Expr, axes: tuple[Axis, ...]
) -> Threshold | None:
    """The first branch condition in `value` that one axis decides by itself."""
    conditions: list[Expr] = []

    def visit(call: Call) -> None:
        if getattr(call.op, "name", "") == "prim.if_then_else":
            conditions.append(call.args[0])

    tvm_ffi.structural_walk(value, [(Call, visit)], order="pre")
    for condition in conditions:
        for comparison in comparisons_of(condition):
            for axis in axes:
                found = threshold(polynomials, comparison, axis, axes)
                if found is not None:
                    return found
    return None


def _resolve(value: Expr, comparison: Expr, answer: bool) -> Expr:
    """`value` with a comparison replaced by its answer, and the branches it decides taken."""
    known = IntImm("bool", int(answer))

    def compare(node: Expr) -> Expr:
        return known if tvm_ffi.structural_equal(node, comparison) else node

    def conjunction(node: Expr) -> Expr:
        for left, right in ((node.a, node.b), (node.b, node.a)):
            if isinstance(left, IntImm):
                decided = bool(int(left.value)) is isinstance(node, tirx.Or)
                return left if decided else right
        return node

    def branch(call: Call) -> Expr:
        if getattr(call.op, "name", "") != "prim.if_then_else":
            return call
        condition = call.args[0]
        if not isinstance(condition, IntImm):
            return call
        return call.args[1] if int(condition.value) else call.args[2]

    return tvm_ffi.structural_map(
        value, [(_COMPARISONS, compare), ((tirx.And, tirx.Or), conjunction), (Call, branch)]
    )


def _split(memory: Memory, nest: Nest, found: Threshold) -> tuple[Nest | None, Nest | None]:
    axis = found.axis
    at = _clamp(memory.polynomials, found.at, axis.extent)
    below = _part(
        memory, nest, axis, i64(0), at, _resolve(nest.value, found.comparison, not found.above)
    )
    rest = memory.polynomials.expr(memory.polynomials.of(axis.extent) - memory.polynomials.of(at))
    above = _part(memory, nest, axis, at, rest, _resolve(nest.value, found.comparison, found.above))
    return below, above


def _part(
    memory: Memory, nest: Nest, axis: Axis, start: Expr, extent: Expr, value: Expr
) -> Nest | None:
    if static(extent) == 0:
        return None
    var = Var(axis.var.name, "int64")
    memory.polynomials.set_range(var, extent)
    axes = tuple(Axis(var, extent) if a is axis else a for a in nest.axes)
    moved = memory.polynomials.expr(memory.polynomials.of(var) + memory.polynomials.of(start))
    part = Nest(nest.target, nest.offset, value, nest.axes, nest.reduced)
    return rename(memory, part, {hash(axis.var): moved}, axes=axes)


def _clamp(polynomials: Polynomials, at: Expr, extent: Expr) -> Expr:
    """min(max(at, 0), extent), without what is certain."""
    position, end = polynomials.of(at), polynomials.of(extent)
    if position.value is not None:
        position = polynomials.of(max(position.value, 0))
        at = polynomials.expr(position)
    if position.value is not None and end.value is not None:
        return i64(min(position.value, end.value))
    if not position.nonnegative:
        at = tirx.Max(at, i64(0))
    if not polynomials.at_most(position, end):
        at = tirx.Min(at, extent)
    return at


def comparisons_of(condition: Expr) -> list[Expr]:
    """The comparisons a condition is made of."""
    if isinstance(condition, (tirx.And, tirx.Or)):
        return comparisons_of(condition.a) + comparisons_of(condition.b)
    if isinstance(condition, Call) and getattr(condition.op, "name", "") == "prim.likely":
        return comparisons_of(condition.args[0])
    return [condition] if isinstance(condition, _COMPARISONS) else []


def threshold(
    polynomials: Polynomials, comparison: Expr, axis: Axis, axes: tuple[Axis, ...]
) -> Threshold | None:
    """Where `axis` alone, none of the other `axes`, decides an int64 comparison."""
    if str(comparison.a.ty.dtype) != "int64":
        return None
    # Written as `difference > 0` or `difference >= 0`.
    left, right = polynomials.of(comparison.a), polynomials.of(comparison.b)
    smaller = isinstance(comparison, (tirx.LT, tirx.LE))
    difference = right - left if smaller else left - right
    if isinstance(comparison, (tirx.LT, tirx.GT)):
        difference = difference - polynomials.of(1)
    slope = polynomials.coefficient(difference, axis.var)
    if slope is None or slope.value not in (1, -1):
        return None
    rest = difference - polynomials.of(axis.var) * slope
    if polynomials.uses(rest, [a.var for a in axes if a is not axis]):
        return None
    if slope.value == 1:  # var + rest >= 0
        return Threshold(comparison, axis, polynomials.expr(polynomials.of(0) - rest), True)
    # rest - var >= 0: true up to rest, false from rest + 1 on
    return Threshold(comparison, axis, polynomials.expr(rest + polynomials.of(1)), False)
