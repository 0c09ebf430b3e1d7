"""Operators whose result is as large as the data decides, sorting, and determinants."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, tirx
from tvm.relax import Expr, TensorType
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter, Dim
from tvm_sod2.frontend.converters.kernels import emit_kernel
from tvm_sod2.frontend.dims import expr, product
from tvm_sod2.memory.text import to_python
from tvm_sod2.passes.requirements import require
from tvm_sod2.schedules.selection import select_best
from tvm_sod2.schedules.sequential import determinant
from tvm_sod2.schedules.suppression import suppress

Attrs = dict[str, Any]
Inputs = list[Any]


def _nonzero(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    if not c.rank(x):
        x = c.reshape(x, [1])
    return c.emit(R.nonzero(x), [c.rank(x), c.module.symbols.fresh(f"{c.hint}_count")])


def _compress(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, condition = inputs
    axis = attrs.get("axis")
    if axis is None:
        x, axis = c.reshape(x, [product(c.dims(x))]), 0
    # A shorter condition leaves out what is beyond it, and a longer one chooses only from x.
    found = c.module.symbols.fresh(f"{c.hint}_count")
    places = c.reshape(c.emit(R.nonzero(condition), [1, found]), [found])
    return c.take(x, places, c.axis(axis, c.rank(x)))


def _unique(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr]:
    x, axis = inputs[0], attrs.get("axis")
    if not c.rank(x):
        x = c.reshape(x, [1])
    asked = [bool(c.node.output[i : i + 1] and c.node.output[i]) for i in range(1, 4)]
    dims = c.dims(x)
    place = None if axis is None else c.axis(axis, len(dims))
    if c.dtype(x) == "bool":
        raise c.error("bool values cannot be told apart by an order; cast its input to uint8")
    both = c.emit(R.unique(x, bool(attrs.get("sorted", 1)), *asked, place))
    count = c.module.symbols.fresh(f"{c.hint}_count")
    total = product(dims) if place is None else dims[place]
    values = [count] if place is None else [*dims[:place], count, *dims[place + 1 :]]
    shapes = [values, *(s for a, s in zip(asked, ([count], [total], [count]), strict=True) if a)]
    parts = [both]
    if any(asked):
        parts = [relax.TupleGetItem(both, i) for i in range(len(shapes))]
    results = [c.emit(part, shape) for part, shape in zip(parts, shapes, strict=True)]
    found = iter(results[1:])
    return [results[0], *(next(found) if a else results[0] for a in asked)]


def _at_most(c: Context, k: Dim, size: Dim) -> None:
    """Check, at import or else at run time, that no more are asked for than there are."""
    message = "k is {}, expected at most {}"
    if isinstance(k, int) and isinstance(size, int):
        if k > size:
            raise c.error(message.format(k, size))
        return
    above = tirx.Max(expr(k) - expr(size), tirx.const(0, "int64"))
    text = message.format(to_python(expr(k)), to_python(expr(size)))
    require(c.bb, above, f"{c.label}: {text}")


def _top_k(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr]:
    x = inputs[0]
    axis = c.axis(attrs.get("axis", -1), c.rank(x))
    if len(inputs) > 1:
        k = c.symbols_of(c.astype(c.reshape(inputs[1], [1]), "int64"), 1, f"{c.hint}_k")[0]
    else:
        k = attrs["k"]
    dims = c.dims(x)
    _at_most(c, k, dims[axis])
    # What is compared lies side by side: (outer, inner, axis).
    outer, inner = product(dims[:axis]), product(dims[axis + 1 :])
    rows, last = product([outer, inner]), axis == c.rank(x) - 1
    whole = c.reshape(x, [outer, dims[axis], inner])
    columns = whole if last else c.emit(R.permute_dims(whole, [0, 2, 1]))
    kernel = select_best(c.dtype(x), bool(attrs.get("largest", 1)))
    matrix = c.reshape(columns, [rows, dims[axis]])
    order = emit_kernel(c, kernel, [matrix], [TensorType([rows, k], "int64")])[0]
    if not last:
        order = c.emit(R.permute_dims(c.reshape(order, [outer, inner, k]), [0, 2, 1]))
    order = c.reshape(order, [*dims[:axis], k, *dims[axis + 1 :]])
    return [c.emit(R.gather_elements(x, order, axis)), order]


def _suppression(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    boxes, scores, limit, overlap, threshold = (*inputs, None, None, None)[:5]
    if limit is None:
        return const(np.zeros((0, 3), "int64"))
    batch, classes, count = c.dims(scores)
    boxes = c.equate(boxes, [batch, count, 4])
    order = c.emit(R.argsort(scores, 2, True, "int64"))
    lowest = const(np.asarray([-np.inf], "float32"))
    kernel = suppress(c.dtype(boxes), bool(attrs.get("center_point_box", 0)))
    places = TensorType([product([batch, classes, count]), 3], "int64")
    arguments = [
        boxes,
        scores,
        order,
        c.astype(c.reshape(limit, [1]), "int64"),
        const(np.zeros(1, "float32")) if overlap is None else c.reshape(overlap, [1]),
        lowest if threshold is None else c.reshape(threshold, [1]),
    ]
    padded, total = emit_kernel(c, kernel, arguments, [places, TensorType([1], "int64")])
    found = c.symbols_of(total, 1, f"{c.hint}_count")[0]
    return c.emit(R.strided_slice(padded, [0], [0], [found], [1], assume_inbound=True))


def _determinant(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    batch, size = c.dims(x)[:-2], c.dims(x)[-1]
    x = c.reshape(c.equate(x, [*batch, size, size]), [product(batch), size, size])
    dtype = c.dtype(x)
    out = [TensorType([product(batch)], dtype), TensorType(c.dims(x), dtype)]
    return c.reshape(emit_kernel(c, determinant(dtype), [x], out)[0], batch)


CONVERTERS: dict[str, Converter] = {
    "Compress": _compress,
    "Det": _determinant,
    "NonMaxSuppression": _suppression,
    "NonZero": _nonzero,
    "TopK": _top_k,
    "Unique": _unique,
}
