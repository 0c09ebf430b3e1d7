"""Gathers, scatters and operators whose result's size only the run decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..drawing import RejectedError
from ..growth import Growth
from ..values import Arrays, Value
from .elementwise import mask_like
from .row import ANY, Row, axis_of


def _indices(g: Growth, limits: Sequence[int], shape: Sequence[int] | Value) -> Value:
    """Indices below `limits` (one a live sample): a weight, or an input; of a shape or like one."""
    if not isinstance(shape, Value) and min(limits) > 0 and g.flip():
        return g.const(g.rng.integers(-min(limits), min(limits), shape))
    shapes = shape.exact if isinstance(shape, Value) else [np.empty(shape)] * len(g.alive)
    left = iter(limits)
    arrays: Arrays = []
    for array, alive in zip(shapes, g.alive, strict=True):
        if array is None or not alive:
            arrays.append(None)
            continue
        limit = next(left)
        if not limit and array.size:
            raise RejectedError
        arrays.append(g.rng.integers(-limit, max(limit, 1), array.shape))
    return g.given(arrays)


def _gather(g: Growth) -> None:
    value = g.pick(ANY, range(1, 5))
    axis = axis_of(g, value)
    shape = g.one_of([[], [1], [2], [3], [2, 2], [0]])
    g.op("Gather", value, _indices(g, value.dims[axis], shape), axis=axis)


def _gather_elements(g: Growth) -> None:
    value = g.pick(("float32", "int64"), range(1, 5))
    axis = axis_of(g, value)
    g.op("GatherElements", value, _indices(g, value.dims[axis], value), axis=axis)


def _gather_nd(g: Growth) -> None:
    value = g.pick(("float32", "int64"), range(1, 5))
    depth = g.integer(1, value.rank)
    limits = [min(column) for column in zip(*value.dims[:depth], strict=True)]
    g.op("GatherND", value, _indices(g, limits, [g.integer(1, 3), depth]))


def _scatter_elements(g: Growth) -> None:
    value = g.pick(("float32",), range(1, 5))
    axis = axis_of(g, value)
    indices = _distinct(g, value, axis)
    reduction = g.one_of(["none", "none", "add", "max"])
    g.op("ScatterElements", value, indices, g.like(value), axis=axis, reduction=reduction)


def _distinct(g: Growth, value: Value, axis: int) -> Value:
    """A permutation along the axis for each line of the value."""
    return g.given(
        [
            None if a is None else np.argsort(g.rng.random(a.shape), axis=axis).astype("int64")
            for a in value.exact
        ]
    )


def _scatter_nd(g: Growth) -> None:
    value = g.pick(("float32", "int64"), range(1, 5))
    size = value.smallest(0)
    count = g.integer(1, 2)
    if size < count:
        raise RejectedError
    rows = g.rng.permutation(size)[:count].reshape(count, 1)
    if value.rank == 1:
        updates = g.const(g.draw(value.dtype, [count]))
    else:
        updates = g.given(
            [None if a is None else g.draw(value.dtype, [count, *a.shape[1:]]) for a in value.exact]
        )
    reduction = g.one_of(["none", "none", "add"])
    g.op("ScatterND", value, g.const(rows), updates, reduction=reduction)


def _one_hot(g: Growth) -> None:
    depth = g.integer(1, 5)
    source = g.pick(("int64",), range(0, 3))
    indices = g.op("Mod", source, g.const(depth, "int64"))
    values = g.const([0, 1], g.one_of(["float32", "int64"]))
    g.op("OneHot", indices, g.const([depth], "int64"), values, axis=g.one_of([-1, 0]))


def _non_zero(g: Growth) -> None:
    source = g.pick(("bool", "int64", "float32"), range(1, 5))
    mask = source if source.dtype == "bool" else mask_like(g, source)
    places = g.op("NonZero", mask)
    if source.rank == mask.rank and source.dims == mask.dims and g.flip(0.6):
        g.op("GatherND", source, g.op("Transpose", places, perm=[1, 0]))


def _compress(g: Growth) -> None:
    value = g.pick(("float32", "int64"), range(1, 5))
    axis = axis_of(g, value)
    if g.flip(0.2):
        length = min(4, value.smallest(axis))
        g.op("Compress", value, g.const(g.draw("bool", [g.integer(0, length)])), axis=axis)
        return
    keep = g.given([None if a is None else g.draw("bool", [a.shape[axis]]) for a in value.exact])
    g.op("Compress", value, keep, axis=axis)


def _unique(g: Growth) -> None:
    value = g.pick(("int64", "float32", "int64"), range(1, 4))
    attributes = {"axis": axis_of(g, value)} if g.flip(0.3) else {}
    g.ops("Unique", g.integer(1, 4), value, sorted=int(g.flip(0.8)), **attributes)


ROWS = [
    Row("Gather", _gather, 1.5),
    Row("GatherElements", _gather_elements, 0.7),
    Row("GatherND", _gather_nd, 0.6),
    Row("ScatterElements", _scatter_elements, 0.6, 18),
    Row("ScatterND", _scatter_nd, 0.6, 18),
    Row("OneHot", _one_hot, 0.6),
    Row("NonZero", _non_zero, 0.8),
    Row("Compress", _compress, 0.6),
    Row("Unique", _unique, 0.5),
]
