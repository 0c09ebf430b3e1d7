"""Narrows reduced loops to where a padded window lies inside its input.

Before: ``for k: acc = max(acc, if_then_else(1 <= h + k and h + k <= H, x[h + k - 1], lowest))``.
After: ``for k in range(max(1 - h, 0), min(H + 1 - h, K)): acc = max(acc, x[h + k - 1])``, where the
value outside is the one that changes nothing.
"""

from __future__ import annotations

from dataclasses import replace

from tvm import tirx
from tvm.ir import Call, Expr
from tvm.tirx import FloatImm, IntImm, Var

from tvm_sod2.schedules.rules.access import Memory, Nest, rename
from tvm_sod2.schedules.rules.loops import i64
from tvm_sod2.schedules.rules.polynomial import occurs, put
from tvm_sod2.schedules.rules.program import Axis
from tvm_sod2.schedules.rules.reducers import Combiner
from tvm_sod2.schedules.rules.regions import comparisons_of, threshold

__all__ = ["narrow_windows"]


Span = tuple[Expr, Expr]
"""Where an axis begins and ends."""


def narrow_windows(
    memory: Memory, nest: Nest, combiner: Combiner, whole: Var | None = None
) -> tuple[Nest, Expr | None, Span | None]:
    """The nest without the guard of its value, and what is left of the guard as a condition.

    The extents of the reduced axes may then depend on the other axes. They do not on `whole`, if
    that is given: then the nest holds in the last result's span of that output axis.
    """
    value = nest.value
    if not isinstance(value, Call) or getattr(value.op, "name", "") != "prim.if_then_else":
        return nest, None, None
    condition, inside, outside = value.args
    if not _changes_nothing(combiner, outside):
        return nest, None, None
    bounds: dict[int, tuple[list[Expr], list[Expr]]] = {}
    left: list[Expr] = []
    for part in _conjuncts(condition):
        for axis in nest.reduced:
            others = tuple(a for a in nest.reduced if a is not axis)
            known = comparisons_of(part)
            found = (
                threshold(memory.polynomials, part, axis, others)
                if len(known) == 1 and known[0].same_as(part)
                else None
            )
            if found is not None:
                low, high = bounds.setdefault(hash(axis.var), ([], []))
                (low if found.above else high).append(found.at)
                break
        else:
            left.append(part)
    span = None if whole is None else _take_span(memory, nest, bounds, whole)
    mapping: dict[int, Expr] = {}
    reduced: list[Axis] = []
    for axis in nest.reduced:
        low, high = bounds.get(hash(axis.var), ([], []))
        if not low and not high:
            reduced.append(axis)
            continue
        start: Expr = i64(0)
        for bound in low:
            start = tirx.Max(bound, start)
        end = axis.extent
        for bound in high:
            end = tirx.Min(bound, end)
        var = Var(axis.var.name, "int64")
        reduced.append(Axis(var, tirx.Max(end - start, i64(0))))
        mapping[hash(axis.var)] = var + start if low else var
    narrowed = replace(nest, value=inside)
    if mapping:
        narrowed = rename(memory, narrowed, mapping, reduced=tuple(reduced))
    if not left:
        return narrowed, None, span
    rest = tirx.all(*left) if len(left) > 1 else left[0]
    return narrowed, put(rest, mapping), span


def _take_span(
    memory: Memory, nest: Nest, bounds: dict[int, tuple[list[Expr], list[Expr]]], whole: Var
) -> Span | None:
    """Where on the axis of `whole` the bounds that depend on it hold for all steps of a window.

    These are taken out of `bounds`.
    """
    polynomials = memory.polynomials
    others = [a.var for a in (*nest.axes, *nest.reduced) if not a.var.same_as(whole)]
    (axis,) = (a for a in nest.axes if a.var.same_as(whole))
    start: Expr = i64(0)
    end = axis.extent
    for reduced in nest.reduced:
        low, high = bounds.get(hash(reduced.var), ([], []))
        for bound in [b for b in (*low, *high) if occurs(b, [whole])]:
            at = polynomials.of(bound)
            slope = polynomials.coefficient(at, whole)
            step = slope.value if slope is not None else None
            if slope is None or step is None or step >= 0:
                return None
            rest = at - polynomials.of(whole) * slope
            if polynomials.uses(rest, others):
                return None
            fixed = polynomials.expr(rest)
            if any(bound is b for b in low):  # no step of the window is below the bound
                start = tirx.Max(start, tirx.FloorDiv(fixed + i64(-step - 1), i64(-step)))
                low.remove(bound)
                continue
            last = tirx.FloorDiv(fixed - reduced.extent, i64(-step))
            end = tirx.Min(end, last + i64(1))
            high.remove(bound)
    return tirx.Min(start, axis.extent), tirx.Max(end, tirx.Min(start, axis.extent))


def _conjuncts(condition: Expr) -> list[Expr]:
    if isinstance(condition, tirx.And):
        return _conjuncts(condition.a) + _conjuncts(condition.b)
    if isinstance(condition, Call) and getattr(condition.op, "name", "") == "prim.likely":
        return _conjuncts(condition.args[0])
    return [condition]


def _changes_nothing(combiner: Combiner, value: Expr) -> bool:
    if not isinstance(value, (FloatImm, IntImm)):
        return False
    number, dtype = float(value.value), str(value.ty.dtype)
    if combiner is Combiner.SUM:
        return number == 0
    if combiner is Combiner.PRODUCT:
        return number == 1
    if combiner is Combiner.MAX:
        return number <= float(tirx.min_value(dtype).value)
    if combiner is Combiner.MIN:
        return number >= float(tirx.max_value(dtype).value)
    return False
