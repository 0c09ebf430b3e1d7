"""Reading and writing by index. ONNX counts negative indices from the end."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter

Attrs = dict[str, Any]
Inputs = list[Any]


def _from_front(c: Context, indices: Expr, x: Expr, axes: list[int]) -> Expr:
    """Return indices without negative ones; the last axis of ``indices`` runs over ``axes``, or
    there is one axis, meant by every index."""
    array = c.constant(indices)
    sizes = [c.dims(x)[axis] for axis in axes]
    if array is not None:
        if (array >= 0).all():
            return indices
        if all(isinstance(size, int) for size in sizes):
            return const(np.where(array < 0, array + np.asarray(sizes), array).astype("int64"))
    indices = c.astype(indices, "int64")
    limit = c.shape_tensor(x)
    if axes != list(range(c.rank(x))):
        limit = c.take(limit, c.ints(axes))
    negative = c.emit(R.less(indices, c.ints(0)))
    wrapped = c.emit(R.add(indices, limit))
    return c.emit(R.where(negative, wrapped, indices))


def _gather(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, indices = inputs
    axis = c.axis(attrs.get("axis", 0), c.rank(x))
    array, size = c.constant(indices), c.dims(x)[axis]
    if array is None:
        # "wrap" is index mod size: right for -size <= index < size, and safe beyond.
        return R.take(x, indices, axis, mode="wrap")
    if isinstance(size, int):
        if ((array < -size) | (array >= size)).any():
            raise c.error(f"an index is outside of axis {axis} of size {size}")
        return c.take(x, const(np.where(array < 0, array + size, array)), axis)
    return R.take(x, indices, axis, mode="wrap")


def _gather_elements(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, indices = inputs
    axis = c.axis(attrs.get("axis", 0), c.rank(x))
    return R.gather_elements(x, _from_front(c, indices, x, [axis]), axis)


def _depth(c: Context, x: Expr, indices: Expr, batch: int) -> int:
    depth = c.dims(indices)[-1]
    if not isinstance(depth, int):
        rank = c.result_rank()
        if rank is not None:
            # rank = rank of indices - 1 + what the indices leave of x, batch axes counted once.
            return c.rank(indices) - 1 + c.rank(x) - batch - rank
        raise c.error("the last dim of its 'indices' has to be known; it decides the rank")
    return depth


def _gather_nd(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, indices = inputs
    batch = attrs.get("batch_dims", 0)
    depth = _depth(c, x, indices, batch)
    indices = c.equate(indices, [*c.dims(indices)[:-1], depth])
    indices = _from_front(c, indices, x, list(range(batch, batch + depth)))
    dims = c.dims(indices)[:-1] + c.dims(x)[batch + depth :]
    return c.emit(R.gather_nd(x, indices, batch), dims)


def _scatter_nd(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, indices, updates = inputs
    # The ranks leave only one depth: that of an update is what the indices leave of x.
    depth = c.rank(indices) - 1 + c.rank(x) - c.rank(updates)
    if not 0 < depth <= c.rank(x):
        raise c.error(
            f"ranks {c.rank(x)}, {c.rank(indices)} and {c.rank(updates)} of its inputs contradict"
        )
    rows = c.dims(indices)[:-1]
    indices = c.equate(indices, [*rows, depth])
    updates = c.equate(updates, [*rows, *c.dims(x)[depth:]])
    indices = _from_front(c, indices, x, list(range(depth)))
    mode = attrs.get("reduction", "none")
    return c.emit(
        R.scatter_nd(x, indices, updates, "update" if mode == "none" else mode), c.dims(x)
    )


def _scatter_elements(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, indices, updates = inputs
    axis = c.axis(attrs.get("axis", 0), c.rank(x))
    indices = _from_front(c, indices, x, [axis])
    updates = c.equate(updates, c.dims(indices))
    mode = attrs.get("reduction", "none")
    mode = "update" if mode == "none" else mode
    return c.emit(R.scatter_elements(x, indices, updates, axis, mode), c.dims(x))


def _one_hot(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    indices, depth, values = inputs
    rank = c.rank(indices) + 1
    axis = c.axis(attrs.get("axis", -1), rank)
    size = c.symbols_of(c.astype(c.reshape(depth, [1]), "int64"), 1, f"{c.hint}_depth")[0]
    indices = c.astype(indices, "int64")
    if isinstance(size, int):
        count: Expr = c.ints(size)
    else:
        count = c.emit(R.shape_to_tensor(relax.ShapeExpr([size])))
    negative = c.emit(R.less(indices, c.ints(0)))
    indices = c.emit(R.where(negative, c.emit(R.add(indices, count)), indices))
    dims = c.dims(indices)
    spread = c.reshape(indices, [*dims[:axis], 1, *dims[axis:]])
    places = c.reshape(c.iota(size), [size if i == axis else 1 for i in range(rank)])
    hit = c.emit(R.equal(spread, places))
    off, on = (c.reshape(c.take(values, c.ints([i])), []) for i in range(2))
    return R.where(hit, on, off)


CONVERTERS: dict[str, Converter] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
}
