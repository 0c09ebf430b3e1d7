"""Tensors cut into sequences, and joined from them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Several
from itertools import pairwise
from typing import Any

import numpy as np
from tvm.relax import Expr, TensorType
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter, Dim
from tvm_sod2.frontend.converters.kernels import emit_kernel
from tvm_sod2.frontend.converters.movement import alike
from tvm_sod2.frontend.dims import ceildiv, expr
from tvm_sod2.frontend.loops import Turn, loop
from tvm_sod2.frontend.sequence_lists import (
    grown,
    length,
    place,
    sequence_in,
    size_tensor,
    tensor_at,
    whole,
)
from tvm_sod2.frontend.sequences import MOST_ITEMS, Element, Sequence
from tvm_sod2.schedules.places import count_kernel, ends_kernel

Attrs = dict[str, Any]
Inputs = list[Any]


def _split(c: Context, inputs: Inputs, attrs: Attrs) -> Sequence:
    x, given = (*inputs, None)[:2]
    axis = c.axis(attrs.get("axis", 0), c.rank(x))
    if given is None:
        return _singles(c, x, axis, bool(attrs.get("keepdims", 1)))
    return _uneven(c, x, axis, given) if c.rank(given) else _even(c, x, axis, given)


def _singles(c: Context, x: Expr, axis: int, keeps: bool) -> Sequence:
    """One tensor for each index along the axis."""
    dims = c.dims(x)

    def numbered(number: Expr) -> Expr:
        return c.take(x, c.reshape(number, [1]) if keeps else number, axis)

    if isinstance(dims[axis], int) and dims[axis] <= MOST_ITEMS:
        return Sequence.of([numbered(c.ints(i)) for i in range(dims[axis])], c.dtype(x))
    left = [*dims[:axis], *([1] if keeps else []), *dims[axis + 1 :]]
    return _collected(c, numbered, dims[axis], Element(c.dtype(x), tuple(left)))


def _collected(
    c: Context, numbered: Callable[[Expr], Expr], count: Dim, element: Element
) -> Sequence:
    """The sequence of the tensors with numbers 0 to ``count - 1``, each made at run time."""

    def run(number: Expr, state: Several[Expr]) -> Turn:
        return Turn(None, [grown(c, state[0], numbered(number))], [])

    nothing = whole(c, Sequence.of([], element.dtype))
    (made,), _ = loop(c, run, size_tensor(c, count), None, [nothing], count)
    return Sequence(element, None, made)


def _even(c: Context, x: Expr, axis: int, given: Expr) -> Sequence:
    """Parts of one size, a scalar; the last may be smaller."""
    size, known = c.dims(x)[axis], c.constant(given)
    part = c.reshape(c.astype(given, "int64"), [1])
    if known is None:
        message = f"node {c.label}: the size of its parts must be above 0"
        counted = emit_kernel(c, count_kernel(message), [part, expr(size)], [_VECTOR])[0]
        count = c.symbols_of(counted, 1, f"{c.hint}_count")[0]
    elif known.item() <= 0:
        raise c.error(f"parts of size {known.item()} never cover its axis")
    else:
        width = int(known.item())
        count = ceildiv(size, width)
        if isinstance(count, int) and count <= MOST_ITEMS:
            return _pieces(c, x, axis, [min(i * width, size) for i in range(count + 1)])

    def numbered(number: Expr) -> Expr:
        low = c.emit(R.multiply(c.reshape(number, [1]), part))
        end = c.reshape(size_tensor(c, size), [1])
        high = c.emit(R.minimum(c.emit(R.add(low, part)), end))
        ends = c.emit(R.concat([low, high], 0))
        return _piece(c, x, axis, *c.symbols_of(ends, 2, f"{c.hint}_range"))

    return _collected(c, numbered, count, _without(c, x, axis))


def _uneven(c: Context, x: Expr, axis: int, given: Expr) -> Sequence:
    """Parts of the sizes that a vector holds."""
    sizes, count, dims = c.constant(given), c.dims(given)[0], c.dims(x)
    if sizes is not None and len(sizes) <= MOST_ITEMS:
        if min(sizes, default=0) < 0:
            raise c.error(f"its parts are of sizes {sizes.tolist()}; none can be below 0")
        edges = [0, *(int(edge) for edge in np.cumsum(sizes))]
        x = c.equate(x, [*dims[:axis], edges[-1], *dims[axis + 1 :]])
        return _pieces(c, x, axis, edges)
    message = f"node {c.label}: the sizes of its parts must be 0 or more and add up to its axis"
    widths, out = c.astype(given, "int64"), [TensorType([count], "int64")]
    found = emit_kernel(c, ends_kernel(message), [widths, expr(dims[axis])], out)[0]
    if isinstance(count, int) and count <= MOST_ITEMS:
        return _pieces(c, x, axis, [0, *c.symbols_of(found, count, f"{c.hint}_end")])

    def numbered(number: Expr) -> Expr:
        index = c.reshape(number, [1])
        high = c.take(found, index)
        low = c.emit(R.subtract(high, c.take(widths, index)))
        ends = c.emit(R.concat([low, high], 0))
        return _piece(c, x, axis, *c.symbols_of(ends, 2, f"{c.hint}_range"))

    return _collected(c, numbered, count, _without(c, x, axis))


_VECTOR = TensorType([1], "int64")


def _piece(c: Context, x: Expr, axis: int, low: Dim, high: Dim) -> Expr:
    return c.emit(R.strided_slice(x, [axis], [low], [high], [1], assume_inbound=True))


def _pieces(c: Context, x: Expr, axis: int, edges: Several[Dim]) -> Sequence:
    parts = [_piece(c, x, axis, low, high) for low, high in pairwise(edges)]
    return Sequence.of(parts, c.dtype(x))


def _without(c: Context, x: Expr, axis: int) -> Element:
    """What parts of a tensor have in common."""
    dims = [None if i == axis else dim for i, dim in enumerate(c.dims(x))]
    return Element(c.dtype(x), tuple(dims))


def _concat(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    sequence, new = sequence_in(c, inputs[0]), bool(attrs.get("new_axis", 0))
    rank = None if sequence.element.dims is None else len(sequence.element.dims) + new
    if rank is None:
        rank = c.result_rank()
    if rank is None or sequence.element.absent:
        raise c.error(
            "the rank of the tensors in its input is not known; give its result a shape in the "
            "model's value_info"
        )
    axis = c.axis(attrs["axis"], rank)
    if sequence.items is not None:
        parts = [c.emit(R.expand_dims(item, axis)) if new else item for item in sequence.items]
        return _joined(c, parts, axis)
    # All tensors are as the first, but along the axis.
    values = whole(c, sequence)
    count = length(c, sequence)
    at = place(c, c.ints([0]), count, "its input is empty; at least one tensor is expected")
    dims = sequence.element.dims or (None,) * (rank - new)
    first = tensor_at(c, values, c.symbols_of(at, 1)[0], Element(sequence.element.dtype, dims))
    common: list[Dim | None] = [*c.dims(first)]
    if not new:
        common[axis] = None
    others = Element(c.dtype(first), tuple(common))
    order = [*range(rank)]
    order.insert(0, order.pop(axis))

    def run(number: Expr, state: Several[Expr]) -> Turn:
        index = c.symbols_of(c.reshape(number, [1]), 1)[0]
        item = tensor_at(c, values, index, others)
        return Turn(None, [], [item if new else _permuted(c, item, order)])

    _, (joined,) = loop(c, run, size_tensor(c, count), None, [], count, stacks=new)
    return _permuted(c, joined, [order.index(i) for i in range(rank)])


def _permuted(c: Context, x: Expr, order: list[int]) -> Expr:
    return x if order == sorted(order) else c.emit(R.permute_dims(x, order))


def _joined(c: Context, parts: Several[Expr], axis: int) -> Expr:
    if not parts:
        raise c.error("its input is empty; at least one tensor is expected")
    return parts[0] if len(parts) == 1 else c.emit(R.concat(alike(c, parts, axis), axis))


CONVERTERS: dict[str, Converter] = {
    "ConcatFromSequence": _concat,
    "SplitToSequence": _split,
}
