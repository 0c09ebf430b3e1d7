"""Shapes as values, and tensors made from shapes: all of it stays ordinary tensor arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter, Dim
from tvm_sod2.frontend.converters.axes import is_hit, squeezed, unsqueezed
from tvm_sod2.frontend.dims import expr, floordiv, is_same, product
from tvm_sod2.frontend.dtypes import relax_dtype
from tvm_sod2.frontend.names import identifier

Attrs = dict[str, Any]
Inputs = list[Any]


def _shape(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    rank = c.rank(inputs[0])
    start, end, _ = slice(attrs.get("start", 0), attrs.get("end", rank)).indices(rank)
    shape = c.shape_tensor(inputs[0])
    array = c.constant(shape)
    if array is not None:
        return c.ints(array[start:end].tolist())
    if (start, end) == (0, rank):
        return shape
    end = max(start, end)
    return R.strided_slice(shape, [0], [start], [end], [1], assume_inbound=True)


def _size(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    count = product(c.dims(inputs[0]))
    if isinstance(count, int):
        return c.ints(count)
    return R.prod(c.shape_tensor(inputs[0]), [0], False)


def _entries(c: Context, vector: Expr, begin: int, end: int) -> Expr:
    return c.emit(R.strided_slice(vector, [0], [begin], [end], [1], assume_inbound=True))


def _reshape(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    keep_zero = bool(attrs.get("allowzero"))
    if len(inputs) < 2:
        return _reshape_known(c, x, attrs["shape"], keep_zero)
    wanted = c.constant(inputs[1])
    if wanted is not None:
        return _reshape_known(c, x, [int(dim) for dim in wanted.reshape(-1)], keep_zero)
    length = c.vector_length(inputs[1], "shape")
    target = c.astype(inputs[1], "int64")
    source = c.shape_tensor(x)
    zero, one, open_dim = c.ints(0), c.ints(1), c.ints(-1)
    if not keep_zero:
        kept = min(length, c.rank(x))
        copied = source if kept == c.rank(x) else _entries(c, source, 0, kept)
        if kept < length:
            copied = c.emit(R.concat([copied, c.ints([1] * (length - kept))], 0))
        target = c.emit(R.where(c.emit(R.equal(target, zero)), copied, target))
    is_open = c.emit(R.equal(target, open_dim))
    given = c.emit(R.prod(c.emit(R.where(is_open, one, target)), [0], True))
    total = c.emit(R.prod(source, [0], True))
    # An empty tensor with an open dim: nothing is left to divide, but nothing may crash either.
    rest = c.emit(R.divide(total, c.emit(R.maximum(given, one))))
    target = c.emit(R.where(is_open, rest, target))
    return R.reshape(x, relax.ShapeExpr(c.symbols_of(target, length)))


def _reshape_known(c: Context, x: Expr, wanted: list[int], keep_zero: bool) -> Expr:
    dims = c.dims(x)
    if not keep_zero and any(dim == 0 and axis >= len(dims) for axis, dim in enumerate(wanted)):
        raise c.error(f"shape {wanted} copies a dim which its input of rank {len(dims)} lacks")
    target: list[Dim] = [
        dims[axis] if dim == 0 and not keep_zero else dim for axis, dim in enumerate(wanted)
    ]
    open_axes = [axis for axis, dim in enumerate(wanted) if dim == -1]
    if len(open_axes) > 1:
        raise c.error(f"shape {wanted} leaves more than one dim open")
    if open_axes:
        axis = open_axes[0]
        target[axis] = _rest(c, dims, target[:axis] + target[axis + 1 :], wanted)
    total, new = product(dims), product(target)
    if isinstance(total, int) and isinstance(new, int) and total != new:
        raise c.error(f"{total} elements (shape {dims}) cannot take the shape {wanted}")
    return c.reshape(x, target)


def _rest(c: Context, dims: list[Dim], given: list[Dim], wanted: list[int]) -> Dim:
    """Return what the open dim has to be: the quotient of what both sides do not share."""
    ours, theirs = list(dims), []
    for dim in given:
        # Dims copied by a 0 cancel; a division would only hide that.
        match = next((i for i, own in enumerate(ours) if own is dim), None)
        if match is None:
            theirs.append(dim)
        else:
            ours.pop(match)
    total, known = product(ours), product(theirs)
    if isinstance(known, int) and known == 0:
        raise c.error(f"shape {wanted} leaves a dim open that an empty tensor cannot decide")
    if isinstance(total, int) and isinstance(known, int) and total % known:
        raise c.error(f"{total} elements (shape {dims}) cannot take the shape {wanted}")
    return floordiv(total, known)


def _flatten(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, rank = inputs[0], c.rank(inputs[0])
    axis = attrs.get("axis", 1)
    axis = axis + rank if axis < 0 else axis
    dims = c.dims(x)
    return c.reshape(x, [product(dims[:axis]), product(dims[axis:])])


def _axes(c: Context, inputs: Inputs, attrs: Attrs) -> list[int] | None:
    """Return the axes where they are known, None where they are missing or a run-time value."""
    if len(inputs) > 1 and inputs[1] is not None:
        array = c.constant(inputs[1])
        return None if array is None else [int(axis) for axis in array.reshape(-1)]
    return attrs.get("axes")


def _given(inputs: Inputs) -> Expr | None:
    return inputs[1] if len(inputs) > 1 else None


def _count(c: Context, axes: Expr) -> int | None:
    """Return how many axes a run-time value holds, None if not known."""
    count = c.dims(axes)[0] if c.rank(axes) else 1
    return count if isinstance(count, int) else None


def _squeeze(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, rank, dims = inputs[0], c.rank(inputs[0]), c.dims(inputs[0])
    axes = _axes(c, inputs, attrs)
    given = _given(inputs)
    if axes is None and given is not None:
        count = _count(c, given)
        left = c.result_rank() if count is None else rank - count
        if left is None:
            raise c.error("how many axes it squeezes is not known, and so neither is its rank")
        return squeezed(c, x, is_hit(c, given, rank), left)
    if axes is None:
        if not all(isinstance(dim, int) for dim in dims):
            return _squeeze_ones(c, x)
        axes = [axis for axis, dim in enumerate(dims) if dim == 1]
    axes = sorted(c.axis(axis, rank) for axis in axes)
    for axis in axes:
        if isinstance(dims[axis], int) and dims[axis] != 1:
            raise c.error(f"axis {axis} of shape {dims} is not 1 and cannot be squeezed")
    if not axes:
        return x
    # As a reshape: it holds for a dim too that only turns out to be 1 at run time.
    return c.reshape(x, [dim for axis, dim in enumerate(dims) if axis not in axes])


def _squeeze_ones(c: Context, x: Expr) -> Expr:
    """Squeeze whatever turns out to be 1, which the declared rank has to foretell."""
    dims, left = c.dims(x), c.result_rank()
    ones = [dim for dim in dims if dim == 1]
    others = [dim for dim in dims if dim != 1]
    if left is None:
        raise c.error(
            f"its axes are not given and its input has shape {dims}, so that the rank of the "
            "result depends on the data; give the axes to squeeze"
        )
    if len(ones) + left == len(dims):
        return c.reshape(x, others)
    return squeezed(c, x, c.emit(R.equal(c.shape_tensor(x), c.ints(1))), left)


def _unsqueeze(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    axes, given = _axes(c, inputs, attrs), _given(inputs)
    if axes is None and given is not None:
        count = _count(c, given)
        rank = c.result_rank() if count is None else c.rank(x) + count
        if rank is None:
            raise c.error("how many axes it adds is not known, and so neither is its rank")
        return unsqueezed(c, x, is_hit(c, given, rank))
    if axes is None:
        raise c.error("its axes are missing")
    rank = c.rank(x) + len(axes)
    dims = c.dims(x)
    for axis in sorted(c.axis(axis, rank) for axis in axes):
        dims.insert(axis, 1)
    return c.reshape(x, dims)


def _expand(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, rank = inputs[0], c.rank(inputs[0])
    length = c.vector_length(inputs[1], "shape")
    size = max(rank, length)
    x = c.reshape(x, [1] * (size - rank) + c.dims(x))
    wanted = c.constant(inputs[1])
    if wanted is not None:
        return _expand_known(c, x, [1] * (size - length) + wanted.tolist())
    target = c.astype(inputs[1], "int64")
    if length < size:
        target = c.emit(R.concat([c.ints([1] * (size - length)), target], 0))
    # Each side may hold the 1 that the other one stretches.
    is_one = c.emit(R.equal(target, c.ints(1)))
    target = c.emit(R.where(is_one, c.shape_tensor(x), target))
    return stretched(c, x, c.symbols_of(target, size))


def _expand_known(c: Context, x: Expr, wanted: list[int]) -> Expr:
    dims = c.dims(x)
    for own, other in zip(dims, wanted, strict=True):
        if isinstance(own, int) and 1 not in (own, other) and own != other:
            raise c.error(f"shape {dims} cannot be expanded to {wanted}")
    return stretched(
        c, x, [own if other == 1 else other for own, other in zip(dims, wanted, strict=True)]
    )


def stretched(c: Context, x: Expr, dims: list[Dim]) -> Expr:
    """Emit ``x`` stretched to ``dims``, each of which is 1 or the same in ``x``."""
    own = c.dims(x)
    target = [a if isinstance(a, int) and a != 1 else b for a, b in zip(own, dims, strict=True)]
    if not all(
        map(is_same, target, dims)
    ):  # ``x`` knows a dim that ``dims`` only can turn out to be
        shape = c.bb.emit(relax.ShapeExpr(list(map(expr, dims))))
        c.bb.match_cast(
            shape, relax.ShapeType(list(map(expr, target))), identifier(f"{c.hint}_shape")
        )
    return R.broadcast_to(x, relax.ShapeExpr(target))


def _tile(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, rank = inputs[0], c.rank(inputs[0])
    if c.opset < 6:
        axis = int(c.require_constant(inputs[2], "axis").reshape(()))
        repeats = [1] * rank
        repeats[axis] = int(c.require_constant(inputs[1], "tiles").reshape(()))
    else:
        known = c.constant(inputs[1])
        repeats = [] if known is None else [int(repeat) for repeat in known]
    if repeats and len(repeats) != rank:
        raise c.error(f"{len(repeats)} repeats for a tensor of rank {rank}")
    if repeats or not rank:
        return R.tile(x, repeats) if rank else x
    wanted = c.emit(R.multiply(c.astype(inputs[1], "int64"), c.shape_tensor(x)))
    for axis, size in enumerate(c.symbols_of(wanted, rank, f"{c.hint}_sizes")):
        x = c.emit(R.take(x, c.iota(size), axis, mode="wrap"))
    return x


def _constant_of_shape(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    value = attrs.get("value", np.zeros(1, "float32"))
    dims = c.symbols_of(inputs[0], c.vector_length(inputs[0], "input"))
    return R.full(relax.ShapeExpr(dims), const(value.reshape(())))


def _range(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    start, limit, delta = (c.reshape(value, [1]) for value in inputs)
    dtype = c.dtype(start)
    span = c.broadcast(R.subtract, limit, start)
    if c.is_float(start):
        steps = c.emit(R.ceil(c.broadcast(R.divide, span, delta)))
        ends = c.emit(R.isfinite(c.astype(steps, "float32")))
    else:
        ends = c.emit(R.not_equal(delta, c.scalar(0, delta)))
        divisor = c.broadcast(R.where, ends, delta, c.scalar(1, delta))
        # ceil(span / delta) = -floor(-span / delta), for either sign of delta.
        back = c.emit(R.floor_divide(c.emit(R.negative(span)), divisor))
        steps = c.emit(R.negative(back))
    count = c.emit(R.maximum(c.astype(steps, "int64"), c.ints([0])))
    # A length of -1 is refused where it becomes a dim.
    count = c.broadcast(R.where, ends, count, c.ints([-1]))
    length = c.symbols_of(count, 1)[0]
    offsets = c.emit(R.multiply(c.iota(length, dtype), delta))
    return R.add(offsets, start)


def _eye_like(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    rows, columns = c.dims(inputs[0])
    dtype = c.dtype(inputs[0])
    if "dtype" in attrs:
        dtype = relax_dtype(attrs["dtype"])
    row = c.reshape(c.iota(rows), [rows, 1])
    column = c.reshape(c.iota(columns), [1, columns])
    diagonal = c.emit(R.add(row, c.ints(attrs.get("k", 0))))
    return R.astype(c.emit(R.equal(diagonal, column)), dtype)


CONVERTERS: dict[str, Converter] = {
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "EyeLike": _eye_like,
    "Flatten": _flatten,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Unsqueeze": _unsqueeze,
}
