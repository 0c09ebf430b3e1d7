"""Causal masks: which keys a query cannot see because they come too late.

    m = where(greater(keys, add(rows, p)), -inf, 0)     # from comparisons, a triangle, a constant
    s = add(scores, m)                       ->         key <= row + p, else -inf

The mask need not be causal alone: one for padding may be joined to it, in any order. What a mask is
above the diagonal is followed through the operators that make it, see `diagonal.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.relax import Expr

from tvm_sod2.op_classes.expressions import name_of
from tvm_sod2.passes.diagonal import (
    POINTWISE,
    UNKNOWN,
    Element,
    Linear,
    Sides,
    compared,
    lifted,
    of_array,
    sides,
)
from tvm_sod2.passes.fold_constants import constant_array
from tvm_sod2.passes.operand_views import Definitions, is_one, same_but_ones, scalar
from tvm_sod2.passes.permutes import permutation

LOW = -1000.0
"""More than this is no mask but a score like others."""

_ZERO = Linear(0, 0, tirx.IntImm("int64", 0))
Index = Sequence[Linear | None]
"""Where an element lies, axis by axis; None along axes of neither rows nor keys."""


def element(value: Expr, defined: Definitions) -> Element:
    """What the elements of a tensor are, whose last axes are rows and keys."""
    rows_and_keys = [Linear(1, 0, _ZERO.rest), Linear(0, 1, _ZERO.rest)]
    index: Index = [*[None] * value.ty.ndim, *rows_and_keys][-value.ty.ndim :]
    return _Follower(defined).at(value, index if value.ty.ndim else [])


def hides(steps: Sequence[tuple[relax.Call, int]], defined: Definitions) -> Sides | None:
    """What the scores are above a diagonal after all steps; None where they are not masked."""
    (last, _) = steps[-1]
    found = sides(element(last, defined))
    hidden = found.late is not None and found.above is not None and found.above <= LOW
    return found if hidden else None


def only_hides(step: tuple[relax.Call, int], late: Any, defined: Definitions) -> bool:
    """Whether a step leaves all scores below the diagonal as they are."""
    call, position = step
    neutral = _NEUTRAL.get(call.op.name)
    if neutral is None:
        return False
    decisive = sides(element(call.args[1 if position == 0 else 0], defined))
    along = decisive.late is not None and tvm.sym.Analyzer().can_prove_equal(decisive.late, late)
    return along and decisive.below == neutral(position)


def empty_rows(value: Expr, defined: Definitions) -> Any:
    """`late` where a (.., rows, 1) condition says that a causal mask hides all keys of a row.

    equal(max(mask, axis=-1, keepdims=True), -inf)
    """
    call: Any = defined.get(value)
    if name_of(call) != "relax.equal" or scalar(call.args[1]) != float("-inf"):
        return None
    top: Any = defined.get(call.args[0])
    if name_of(top) != "relax.max" or not top.attrs.keepdims or top.attrs.axis is None:
        return None
    mask = top.args[0]
    if [int(axis) % mask.ty.ndim for axis in top.attrs.axis] != [mask.ty.ndim - 1]:
        return None
    found = sides(element(mask, defined))
    finite = found.below is not None and found.below > float("-inf")
    return found.late if found.above == float("-inf") and finite else None


# What the deciding operand is where a step changes nothing, by the position of the scores.
_NEUTRAL: dict[str, Callable[[int], float | None]] = {
    "relax.add": lambda _: 0.0,
    "relax.subtract": lambda position: 0.0 if position == 0 else None,
    "relax.where": lambda position: 1.0 if position == 1 else 0.0,
}


class _Follower:
    """Follows a tensor's elements back through the operators that made it."""

    def __init__(self, defined: Definitions) -> None:
        self.defined = defined
        self.found: dict[tuple[Any, ...], Element] = {}

    def at(self, value: Expr, index: Index) -> Element:
        if not isinstance(value, tvm.ir.Var):
            return self._at(value, index)
        key = (value, *(None if i is None else (i.row, i.key, str(i.rest)) for i in index))
        if key not in self.found:
            self.found[key] = self._at(value, index)
        return self.found[key]

    def _at(self, value: Expr, index: Index) -> Element:
        array = constant_array(value)
        if array is not None:
            return _constant(array, index)
        made = self.defined.get(value) if isinstance(value, tvm.ir.Var) else value
        if not isinstance(made, relax.Call) or value.ty.shape is None:
            return UNKNOWN
        name = name_of(made)
        if name in _MADE:
            return _MADE[name](self, made, index)
        return self._pointwise(name, made, index) if name in POINTWISE else UNKNOWN

    def _pointwise(self, name: str, call: relax.Call, index: Index) -> Element:
        given = []
        for argument in call.args:
            if argument.ty.shape is None:
                return UNKNOWN
            aligned = index[len(index) - argument.ty.ndim :]
            dims = zip(argument.ty.shape.values, aligned, strict=True)
            given.append(self.at(argument, [_ZERO if is_one(dim) else i for dim, i in dims]))
        match given:
            case [Linear() as a, Linear() as b] if name in ("relax.add", "relax.subtract"):
                return a.plus(b, 1 if name == "relax.add" else -1)
            case [Linear() as a, Linear() as b] if name in _ORDERS:
                found = compared(name, a, b)
                if found is not UNKNOWN:
                    return found
        return lifted(POINTWISE[name], *map(sides, given))

    def arange(self, call: relax.Call, index: Index) -> Element:
        start, _, step = (getattr(field, "value", field) for field in call.args)
        (at,) = index
        if at is None or not isinstance(step, (int, tirx.IntImm)) or int(step) != 1:
            return UNKNOWN
        if str(call.ty.dtype) not in ("int32", "int64"):
            return UNKNOWN
        return at.plus(Linear(0, 0, start))

    def full(self, call: relax.Call, _index: Index) -> Element:
        return self.at(call.args[1], [])

    def astype(self, call: relax.Call, index: Index) -> Element:
        found, dtype = self.at(call.args[0], index), str(call.ty.dtype)
        if isinstance(found, Linear) and dtype in ("int32", "int64"):
            return found
        if dtype == "bool":
            return lifted(lambda x: None if x is None else float(x != 0), sides(found))
        return sides(found) if dtype == "float32" or isinstance(found, Sides) else UNKNOWN

    def permute(self, call: relax.Call, index: Index) -> Element:
        moved = dict(zip(permutation(call), index, strict=True))
        return self.at(call.args[0], [moved[axis] for axis in range(len(index))])

    def reshape(self, call: relax.Call, index: Index) -> Element:
        """Dims of one come and go."""
        source = call.args[0]
        if source.ty.shape is None:
            return UNKNOWN
        before, after = list(source.ty.shape.values), list(call.ty.shape.values)
        kept = [i for i, dim in zip(index, after, strict=True) if not is_one(dim)]
        if not same_but_ones(before, after):
            return UNKNOWN
        rest = iter(kept)
        return self.at(source, [_ZERO if is_one(dim) else next(rest) for dim in before])

    def broadcast(self, call: relax.Call, index: Index) -> Element:
        source = call.args[0]
        if source.ty.shape is None:
            return UNKNOWN
        dims = zip(source.ty.shape.values, index[len(index) - source.ty.ndim :], strict=True)
        return self.at(source, [_ZERO if is_one(dim) else i for dim, i in dims])

    def tile(self, call: relax.Call, index: Index) -> Element:
        """Dims of one are repeated."""
        source = call.args[0]
        repeats = [1] * source.ty.ndim + [int(n) for n in call.attrs.repeats]
        pairs = zip(source.ty.shape.values, repeats[-source.ty.ndim :], strict=True)
        if any(n != 1 and not is_one(dim) for dim, n in pairs):
            return UNKNOWN
        return self.broadcast(call, index)

    def take(self, call: relax.Call, index: Index) -> Element:
        """An axis of one element is repeated, or a constant place is taken."""
        source, places = call.args
        if places.ty.ndim > 1:
            return UNKNOWN
        axis, place = int(call.attrs.axis or 0) % source.ty.ndim, scalar(places)
        before, after = list(index[:axis]), list(index[axis + places.ty.ndim :])
        if place is not None and place >= 0:
            at = Linear(0, 0, tirx.IntImm("int64", int(place)))
            return self.at(source, [*before, at, *after])
        if places.ty.ndim == 1 and is_one(source.ty.shape.values[axis]):
            return self.at(source, [*before, _ZERO, *after])
        return UNKNOWN

    def slice(self, call: relax.Call, index: Index) -> Element:
        source, axes, begin, _, *strides = call.args
        moved = list(index)
        steps = [int(getattr(s, "value", s)) for s in strides[0].fields] if strides else []
        if any(step != 1 for step in steps):
            return UNKNOWN
        for axis, start in zip(axes.fields, begin.fields, strict=True):
            n, start = int(getattr(axis, "value", axis)), getattr(start, "value", start)
            at = moved[n]
            moved[n] = None if at is None else at.plus(Linear(0, 0, start))
        return self.at(source, moved)

    def shape(self, call: relax.Call, index: Index) -> Element:
        """A dim as an integer."""
        (at,) = index
        dims = list(call.args[0].values) if isinstance(call.args[0], relax.ShapeExpr) else []
        if at is None or at.row or at.key or not isinstance(at.rest, tirx.IntImm):
            return UNKNOWN
        number = int(at.rest)
        return Linear(0, 0, dims[number]) if 0 <= number < len(dims) else UNKNOWN


def _constant(array: Any, index: Index) -> Element:
    if array.size == 1:
        value = array.reshape(()).item()
        if array.dtype.kind in "iu":
            return Linear(0, 0, tirx.IntImm("int64", int(value)))
        return Sides.everywhere(float(value)) if array.dtype.kind in "fb" else UNKNOWN
    if array.dtype.kind not in "fbiu":
        return UNKNOWN
    long = [axis for axis, dim in enumerate(array.shape) if dim != 1]
    at = [index[axis] for axis in long]
    if len(long) == 1 and at[0] is not None and array.dtype.kind in "iu":
        flat = array.reshape(-1)
        if all(flat[1:] - flat[:-1] == 1):
            return at[0].plus(Linear(0, 0, tirx.IntImm("int64", int(flat[0]))))
    if len(long) == 2 and at[0] is not None and at[1] is not None:
        return of_array(array.reshape([array.shape[axis] for axis in long]), at[0], at[1])
    return UNKNOWN


_ORDERS = frozenset({"relax.less", "relax.less_equal", "relax.greater", "relax.greater_equal"})

_MADE: dict[str, Callable[[_Follower, relax.Call, Index], Element]] = {
    "relax.arange": _Follower.arange,
    "relax.full": _Follower.full,
    "relax.astype": _Follower.astype,
    "relax.permute_dims": _Follower.permute,
    "relax.reshape": _Follower.reshape,
    "relax.squeeze": _Follower.reshape,
    "relax.expand_dims": _Follower.reshape,
    "relax.broadcast_to": _Follower.broadcast,
    "relax.tile": _Follower.tile,
    "relax.take": _Follower.take,
    "relax.strided_slice": _Follower.slice,
    "relax.shape_to_tensor": _Follower.shape,
}
