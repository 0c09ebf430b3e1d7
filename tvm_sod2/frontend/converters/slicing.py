"""Slices and splits, with ONNX's clamping of indices."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter, Dim
from tvm_sod2.frontend.converters.axes import is_hit, spread
from tvm_sod2.frontend.dims import ceildiv, is_same, maximum, minimum, simplify

Attrs = dict[str, Any]
Inputs = list[Any]


# Exporters write INT32_MAX or INT64_MAX, or their negatives, for "to the end".
_ENDLESS = 2**31 - 1


def _clamped(index: int, size: Dim, low: int, high: Dim) -> Dim:
    """Return a constant index counted from the front and clamped to [low, high]."""
    if index >= _ENDLESS:
        return high
    if index <= -_ENDLESS:
        return low
    if index >= 0:
        return minimum(index, high)
    return maximum(simplify(size + index), low)


def _range_of(start: int, end: int, step: int, size: Dim) -> tuple[Dim, Dim]:
    """Return begin and end of a slice in the direction of the step: 0 <= begin <= end <= size.

    For a negative step both count from the last element backwards.
    """
    if step > 0:
        begin, stop = _clamped(start, size, 0, size), _clamped(end, size, 0, size)
    else:
        # In ONNX start clamps to [0, size - 1] and end to [-1, size - 1]; of size 0 both are -1.
        last = size - 1
        first = _clamped(start, size, 0, last)
        until = _clamped(end, size, -1, last)
        begin, stop = maximum(simplify(last - first), 0), simplify(last - until)
    return begin, maximum(begin, stop)


def _known(
    c: Context, x: Expr, starts: list[int], ends: list[int], axes: list[int], steps: list[int]
) -> Expr:
    sizes = [c.dims(x)[axis] for axis in axes]
    if any(step < 0 for step in steps):
        for axis, step in zip(axes, steps, strict=True):
            x = c.emit(R.flip(x, axis)) if step < 0 else x
    ranges = [_range_of(*args) for args in zip(starts, ends, steps, sizes, strict=True)]
    strides = [abs(step) for step in steps]
    return _strided(c, x, axes, ranges, strides)


def _strided(
    c: Context, x: Expr, axes: list[int], ranges: list[tuple[Dim, Dim]], strides: list[int]
) -> Expr:
    dims = c.dims(x)
    whole = zip(axes, ranges, strides, strict=True)
    if all(step == 1 and is_same(r[0], 0) and is_same(r[1], dims[a]) for a, r, step in whole):
        return x
    begins, ends = ([pair[i] for pair in ranges] for i in range(2))
    return c.emit(R.strided_slice(x, axes, begins, ends, strides, assume_inbound=True))


def _at_run_time(
    c: Context, x: Expr, starts: Expr, ends: Expr, axes: list[int], steps: list[int]
) -> Expr:
    """Clamp by tensor arithmetic; begins and lengths become symbols."""
    count = len(axes)
    sizes = c.take(c.shape_tensor(x), c.ints(axes))
    zero, last = c.ints(0), c.emit(R.subtract(sizes, c.ints(1)))
    forward = np.asarray(steps) > 0

    def clamped(index: Expr, least: int) -> Expr:
        index = c.astype(index, "int64")
        negative = c.emit(R.less(index, zero))
        index = c.emit(R.where(negative, c.emit(R.add(index, sizes)), index))
        low = c.ints([0 if up else least for up in forward])
        high = sizes if forward.all() else c.emit(R.where(const(forward), sizes, last))
        index = c.emit(R.minimum(c.emit(R.maximum(index, low)), high))
        if forward.all():
            return index
        backward = c.emit(R.subtract(last, index))
        return c.emit(R.where(const(forward), index, backward))

    begin = clamped(starts, 0)
    span = c.emit(R.maximum(c.emit(R.subtract(clamped(ends, -1), begin)), zero))
    strides = [abs(step) for step in steps]
    # Begins and lengths: a length is a dim, of which everybody knows that it is not negative.
    symbols = c.symbols_of(c.emit(R.concat([begin, span], 0)), 2 * count, f"{c.hint}_range")
    for axis, step in zip(axes, steps, strict=True):
        x = c.emit(R.flip(x, axis)) if step < 0 else x
    ranges = [
        (low, simplify(low + length))
        for low, length in zip(symbols[:count], symbols[count:], strict=True)
    ]
    return _strided(c, x, axes, ranges, strides)


def _slice_count(c: Context, *vectors: Expr | None) -> int | None:
    """Return how many axes are sliced, None if that is not known."""
    dims = [c.dims(vector)[0] for vector in vectors if vector is not None]
    return next((dim for dim in dims if isinstance(dim, int)), None)


def _by_taking(
    c: Context, x: Expr, starts: Expr, ends: Expr, axes: Expr | None, steps: Expr | None
) -> Expr:
    """Slice where axes or steps are run-time values: along every axis, indices are computed."""
    rank = c.rank(x)
    sizes, none = c.shape_tensor(x), c.ints([0] * rank)
    if axes is None:
        # The first axes, however many there are.
        axes = c.iota(c.dims(starts)[0])
    step = c.ints([1] * rank)
    if steps is not None:
        step = spread(c, axes, steps, step)
    forward = c.emit(R.greater(step, c.ints(0)))
    hit = is_hit(c, axes, rank)
    last = c.emit(R.subtract(sizes, c.ints(1)))

    def clamped(given: Expr, low: list[int]) -> Expr:
        index = spread(c, axes, given, none)
        negative = c.emit(R.less(index, c.ints(0)))
        index = c.emit(R.where(negative, c.emit(R.add(index, sizes)), index))
        high = c.emit(R.where(forward, sizes, last))
        bottom = c.emit(R.where(forward, c.ints([0] * rank), c.ints(low)))
        return c.emit(R.minimum(c.emit(R.maximum(index, bottom)), high))

    begin = c.emit(R.where(hit, clamped(starts, [0] * rank), none))
    end = c.emit(R.where(hit, clamped(ends, [-1] * rank), sizes))
    # ceil((end - begin) / step) for either sign of the step.
    span = c.emit(R.subtract(begin, end))
    stays = c.emit(R.equal(step, c.ints(0)))
    divisor = c.emit(R.where(stays, c.ints([1] * rank), step))
    count = c.emit(R.negative(c.emit(R.floor_divide(span, divisor))))
    count = c.emit(R.maximum(count, c.ints(0)))
    # A length of -1 is refused where it becomes a dim.
    count = c.emit(R.where(stays, c.ints([-1] * rank), count))
    lengths = c.symbols_of(count, rank, f"{c.hint}_lengths")
    for axis, length in enumerate(lengths):
        first, stride = (c.take(value, c.ints([axis])) for value in (begin, step))
        places = c.emit(R.add(c.emit(R.multiply(c.iota(length), stride)), first))
        x = c.take(x, places, axis)
    return x


def _slice(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, rank = inputs[0], c.rank(inputs[0])
    if len(inputs) == 1:
        starts, ends = attrs["starts"], attrs["ends"]
        axes = attrs.get("axes") or list(range(len(starts)))
        return _known(c, x, starts, ends, [c.axis(a, rank) for a in axes], [1] * len(axes))
    starts, ends, axes, steps = (*inputs[1:], None, None)[:4]
    count = _slice_count(c, starts, ends, axes, steps)
    if count is None:
        return _by_taking(c, x, starts, ends, axes, steps)
    if any(value is not None and c.constant(value) is None for value in (axes, steps)):
        return _by_taking(c, x, starts, ends, axes, steps)
    if axes is None:
        places = list(range(count))
    else:
        places = [c.axis(int(a), rank) for a in c.require_constant(axes, "axes")]
    strides = [1] * count if steps is None else c.require_constant(steps, "steps").tolist()
    if 0 in strides:
        raise c.error("a step of 0 never ends")
    first, last = c.constant(starts), c.constant(ends)
    if first is not None and last is not None:
        return _known(c, x, first.tolist(), last.tolist(), places, strides)
    return _at_run_time(c, x, starts, ends, places, strides)


def _parts(c: Context, given: Expr, count: int) -> list[Dim]:
    """Return the sizes of a split's parts, as differences of symbols where the run decides."""
    array = c.constant(given)
    if array is not None:
        return [int(part) for part in array]
    below = const(np.tri(count, dtype="int64"))
    sums = c.emit(R.multiply(c.reshape(c.astype(given, "int64"), [1, count]), below))
    edges = c.symbols_of(c.emit(R.sum(sums, [1], False)), count, f"{c.hint}_split")
    return [high - low for low, high in pairwise([0, *edges])]


def _split(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr]:
    x = inputs[0]
    axis = c.axis(attrs.get("axis", 0), c.rank(x))
    size, count = c.dims(x)[axis], len(c.node.output)
    given = inputs[1] if len(inputs) > 1 else None
    if given is not None:
        # There are as many parts as outputs, known or not.
        parts = _parts(c, given, count)
    elif "split" in attrs:
        parts = attrs["split"]
    else:
        # All parts of one size; only the last one may be smaller (opset 18).
        part = ceildiv(size, attrs.get("num_outputs", count))
        parts = [part] * count
    if len(parts) != count:
        raise c.error(f"{len(parts)} parts for {count} outputs")
    known = all(isinstance(part, int) for part in [*parts, size])
    if known and (given is not None or "split" in attrs) and sum(parts) != size:
        raise c.error(f"parts {list(parts)} do not add up to the size {size} of axis {axis}")
    edges: list[Dim] = [0]
    for part in parts:
        edges.append(simplify(edges[-1] + part))
    if given is None and "split" not in attrs:
        edges = [minimum(edge, size) for edge in edges]
    else:
        x = c.equate(x, [*c.dims(x)[:axis], edges[-1], *c.dims(x)[axis + 1 :]])
    if known and count > 1 and all(low < high for low, high in pairwise(edges)):
        pieces = c.emit(R.split(x, edges[1:-1], axis))
        return [relax.TupleGetItem(pieces, i) for i in range(count)]
    return [
        c.emit(R.strided_slice(x, [axis], [low], [high], [1], assume_inbound=True))
        for low, high in pairwise(edges)
    ]


CONVERTERS: dict[str, Converter] = {"Slice": _slice, "Split": _split}
