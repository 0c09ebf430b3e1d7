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
from tvm_sod2.schedules.rules.polynomial import put
from tvm_sod2.schedules.rules.program import Axis
from tvm_sod2.schedules.rules.reducers import Combiner
from tvm_sod2.schedules.rules.regions import comparisons_of, threshold

__all__ = ["narrow_windows"]


def narrow_windows(memory: Memory, nest: Nest, combiner: Combiner) -> tuple[Nest, Expr | None]:
    """The nest without the guard of its value, and what is left of the guard as a condition.

    The extents of the reduced axes may then depend on the other axes.
    """
    value = nest.value
    if not isinstance(value, Call) or getattr(value.op, "name", "") != "prim.if_then_else":
        return nest, None
    condition, inside, outside = value.args
    if not _changes_nothing(combiner, outside):
        return nest, None
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
        return narrowed, None
    rest = tirx.all(*left) if len(left) > 1 else left[0]
    return narrowed, put(rest, mapping)


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
