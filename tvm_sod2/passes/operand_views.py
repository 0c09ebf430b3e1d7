"""How an operand of a kernel lies in the tensor that transposes and slices took it from.

t = permute_dims(x, [0, 2, 1, 3]); k(t)   ->   k reads x with its axes in another order
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tvm
from tvm import relax
from tvm.relax import Expr

from tvm_sod2.passes.fold_constants import constant_array
from tvm_sod2.passes.permutes import permutation
from tvm_sod2.schedules.attention_spec import Axis

Definitions = Mapping[tvm.ir.Var, Expr]
"""What each variable of a function is bound to."""


@dataclass(frozen=True)
class Place:
    """An operand as a view of `source`, which has `axes`, times `factor`."""

    source: Expr
    axes: tuple[Axis, ...]
    factor: float = 1.0


def places(operand: Expr, defined: Definitions, scaled: bool = False) -> Iterator[Place]:
    """The operand as it is, then as views of what it was made from, one operator further each.

    scaled: whether multiplications and divisions by a constant may become the factor.
    """
    place = Place(operand, tuple(map(Axis, range(operand.ty.ndim))))
    while place is not None:
        yield place
        made = defined.get(place.source) if isinstance(place.source, tvm.ir.Var) else None
        if not isinstance(made, relax.Call) or not isinstance(made.op, tvm.ir.Op):
            return
        name = made.op.name
        if scaled and name in ("relax.multiply", "relax.divide"):
            further = _unscaled(place, made, name == "relax.divide")
        else:
            through = _THROUGH.get(name)
            further = None if through is None else through(place, made)
        if further is None:
            return
        place = further


def contiguous(found: Iterator[Place], axis: int) -> Place:
    """The farthest view in which neighbours along an axis are neighbours in memory, or else the
    operand as it is."""
    first, *further = found
    return [first, *(place for place in further if place.axes[-1].runs_along(axis))][-1]


def scalar(expr: Expr) -> float | None:
    """The value of a constant with one element, or None."""
    data = constant_array(expr)
    return None if data is None or data.size != 1 else float(data.reshape(()))


def same_but_ones(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Whether two shapes provably differ in nothing but dims of one."""
    before, after = ([dim for dim in dims if not is_one(dim)] for dims in (before, after))
    return len(before) == len(after) and all(map(tvm.sym.Analyzer().can_prove_equal, before, after))


def is_one(dim: Any) -> bool:
    """Whether a dim is the constant 1."""
    return isinstance(dim, tvm.tirx.IntImm) and dim.value == 1


def _unscaled(place: Place, call: relax.Call, divided: bool) -> Place | None:
    for source, other in (call.args, call.args[::-1]):
        value = scalar(other)
        if value is not None and source.ty.ndim == call.ty.ndim and value != 0:
            factor = 1 / value if divided else value
            return Place(source, place.axes, place.factor * factor)
        if divided:
            break
    return None


def _through_permute(place: Place, call: relax.Call) -> Place:
    rank = call.ty.ndim
    axes = {axis: place.axes[i] for i, axis in enumerate(permutation(call))}
    return Place(call.args[0], tuple(axes[axis] for axis in range(rank)), place.factor)


def _through_slice(place: Place, call: relax.Call) -> Place | None:
    source, axes, begin, _, *strides = call.args
    moved = list(place.axes)
    numbers = [_integers(part) for part in (axes, begin, *strides)]
    if any(part is None for part in numbers):
        return None
    where, starts, *steps = numbers
    for n, (axis, start) in enumerate(zip(where or [], starts or [], strict=True)):
        extent = call.ty.shape.values[axis]
        # The source has the dim of what is sliced, the view no other dim that could name it.
        if start < 0 or not isinstance(extent, tvm.tirx.IntImm):
            return None
        if steps and steps[0] and steps[0][n] != 1:
            return None
        moved[axis] = replace(moved[axis], offset=moved[axis].offset + start)
    return Place(source, tuple(moved), place.factor)


def _integers(values: Expr) -> list[int] | None:
    simplify = tvm.sym.Analyzer().simplify
    found = [simplify(getattr(field, "value", field)) for field in values.fields]
    if not all(isinstance(value, (int, tvm.tirx.IntImm)) for value in found):
        return None
    return [int(value) for value in found]


def _through_reshape(place: Place, call: relax.Call) -> Place | None:
    """Dims of one come and go, and two axes may become one."""
    source = call.args[0]
    if source.ty.shape is None:
        return None
    before = [dim for dim in source.ty.shape.values if not is_one(dim)]
    after = [dim for dim in call.ty.shape.values if not is_one(dim)]
    places = [
        axis for axis, dim in zip(place.axes, call.ty.shape.values, strict=True) if not is_one(dim)
    ]
    equal = tvm.sym.Analyzer().can_prove_equal
    if len(before) == len(after) + 1:
        joined = next((n for n, dim in enumerate(after) if not equal(dim, before[n])), len(after))
        if joined == len(after) or places[joined] != Axis(places[joined].of):
            return None
        inner = before[joined + 1]
        if not isinstance(inner, tvm.tirx.IntImm):
            return None
        of, size = places[joined].of, int(inner)
        after[joined : joined + 1] = [tvm.tirx.floordiv(after[joined], inner), inner]
        places[joined : joined + 1] = [Axis(of, divisor=size), Axis(of, modulus=size)]
    if len(before) != len(after) or not all(map(equal, before, after)):
        return None
    others = iter(places)
    axes = (Axis(None) if is_one(dim) else next(others) for dim in source.ty.shape.values)
    return Place(source, tuple(axes), place.factor)


def _through_broadcast(place: Place, call: relax.Call) -> Place | None:
    source = call.args[0]
    if source.ty.shape is None:
        return None
    missing = call.ty.ndim - source.ty.ndim
    dims = zip(source.ty.shape.values, place.axes[missing:], strict=True)
    axes = tuple(Axis(None) if is_one(dim) else axis for dim, axis in dims)
    return Place(source, axes, place.factor)


_THROUGH = {
    "relax.permute_dims": _through_permute,
    "relax.strided_slice": _through_slice,
    "relax.broadcast_to": _through_broadcast,
    "relax.reshape": _through_reshape,
    "relax.squeeze": _through_reshape,
    "relax.expand_dims": _through_reshape,
}
