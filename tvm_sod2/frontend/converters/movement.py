"""Operators that only move elements, and casts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.dims import floordiv
from tvm_sod2.frontend.dtypes import relax_dtype

Attrs = dict[str, Any]
Inputs = list[Any]

_CAST_NAMES = {"FLOAT": "float32", "INT64": "int64", "INT32": "int32", "BOOL": "bool"}


def _cast(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    to = attrs["to"]
    dtype = _CAST_NAMES.get(to, to.lower()) if isinstance(to, str) else _dtype(c, to)
    return c.astype(inputs[0], dtype)


def _dtype(c: Context, elem_type: int) -> str:
    try:
        return relax_dtype(elem_type)
    except ValueError as error:
        raise c.error(f"a cast to {error}") from None


def _cast_like(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    return c.astype(inputs[0], c.dtype(inputs[1]))


def _concat(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    axis = c.axis(attrs.get("axis", 1), c.rank(inputs[0]))
    ranks = {c.rank(x) for x in inputs}
    if len(ranks) > 1:
        raise c.error(f"its inputs have ranks {sorted(ranks)}; they must have one")
    return inputs[0] if len(inputs) == 1 else R.concat(alike(c, inputs, axis), axis)


def alike(c: Context, tensors: Sequence[Expr], axis: int) -> list[Expr]:
    """The tensors with equal dims but along the axis, as a concatenation needs them."""
    shapes = [c.dims(x) for x in tensors]
    # Equal in any valid model, so that one known dim decides.
    columns = zip(*shapes, strict=True)
    common = [next((d for d in column if isinstance(d, int)), column[0]) for column in columns]
    return [
        c.equate(x, [*common[:axis], shape[axis], *common[axis + 1 :]])
        for x, shape in zip(tensors, shapes, strict=True)
    ]


def _transpose(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    rank = c.rank(inputs[0])
    perm = attrs.get("perm") or list(range(rank))[::-1]
    if sorted(perm) != list(range(rank)):
        raise c.error(f"perm {perm} does not fit an input of rank {rank}")
    if list(perm) == list(range(rank)):
        return inputs[0]
    return R.permute_dims(inputs[0], perm)


def _depth_to_space(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, block = inputs[0], attrs["blocksize"]
    n, channels, height, width = c.dims(x)
    inner = floordiv(channels, block * block)
    x = c.equate(x, [n, inner * block * block, height, width])
    if attrs.get("mode", "DCR") == "DCR":
        apart, perm = [n, block, block, inner, height, width], [0, 3, 4, 1, 5, 2]
    else:
        apart, perm = [n, inner, block, block, height, width], [0, 1, 4, 2, 5, 3]
    moved = c.emit(R.permute_dims(c.reshape(x, apart), perm))
    return c.reshape(moved, [n, inner, height * block, width * block])


def _space_to_depth(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, block = inputs[0], attrs["blocksize"]
    n, channels, height, width = c.dims(x)
    rows, columns = floordiv(height, block), floordiv(width, block)
    apart = c.reshape(x, [n, channels, rows, block, columns, block])
    perm = [0, 3, 5, 1, 2, 4] if attrs.get("mode", "DCR") == "DCR" else [0, 1, 3, 5, 2, 4]
    moved = c.emit(R.permute_dims(apart, perm))
    return c.reshape(moved, [n, channels * block * block, rows, columns])


def _trilu(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """Keep what lies on or above (upper) the k-th diagonal, or on or below it."""
    x, upper = inputs[0], bool(attrs.get("upper", 1))
    rows, columns = c.dims(x)[-2:]
    k = c.reshape(inputs[1], []) if len(inputs) > 1 and inputs[1] is not None else c.ints(0)
    row = c.reshape(c.iota(rows), [rows, 1])
    column = c.reshape(c.iota(columns), [1, columns])
    diagonal = c.emit(R.add(row, k))
    kept = c.emit((R.greater_equal if upper else R.less_equal)(column, diagonal))
    return R.where(kept, x, c.scalar(0, x))


CONVERTERS: dict[str, Converter] = {
    "Cast": _cast,
    "CastLike": _cast_like,
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Transpose": _transpose,
    "Trilu": _trilu,
}
