"""Reductions along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters.axes import is_hit, parted, squeezed

Attrs = dict[str, Any]
Inputs = list[Any]


Over = Callable[[Callable[..., Expr], Expr, bool], Expr]
"""Reduces a tensor over the node's axes: (operator, tensor, whether dims of 1 stay)."""


def _over_axes(c: Context, inputs: Inputs, attrs: Attrs) -> Over | None:
    """Return how to reduce over the node's axes, None where it leaves its input as it is."""
    rank = c.rank(inputs[0])
    if not rank:
        return None
    given = inputs[1] if len(inputs) > 1 else None
    if given is None:
        axes = attrs.get("axes") or []
    elif c.constant(given) is not None or c.dims(given) == [0]:
        array = c.constant(given)
        axes = [] if array is None else array.reshape(-1).tolist()
    else:
        return _run_time_axes(c, given, rank, bool(attrs.get("noop_with_empty_axes")))
    if not axes and attrs.get("noop_with_empty_axes"):
        return None
    known = [c.axis(int(axis), rank) for axis in axes] or list(range(rank))
    return lambda op, x, keep: _reduce(c, op, x, known, keep)


def _run_time_axes(c: Context, axes: Expr, rank: int, noop: bool) -> Over:
    hit = is_hit(c, axes, rank)
    count = c.dims(axes)[0] if c.rank(axes) else 1
    if not isinstance(count, int) and not noop:
        none = c.emit(R.equal(c.shape_tensor(axes), c.ints(0)))
        hit = c.emit(R.logical_or(hit, none))

    def reduce(op: Callable[..., Expr], x: Expr, keep: bool) -> Expr:
        whole, places = parted(c, x, hit)
        kept = _reduce(c, op, whole, places, False)
        if keep:
            return kept
        left = c.result_rank()
        if left is None and isinstance(count, int):
            left = rank - count
        if left is None:
            raise c.error("how many axes it reduces is not known, and so neither is its rank")
        return squeezed(c, kept, hit, left)

    return reduce


def _same(c: Context, x: Expr) -> Expr:
    return x


def _reduction(
    op: Callable[..., Expr],
    before: Callable[[Context, Expr], Expr] = _same,
    after: Callable[[Context, Expr], Expr] = _same,
) -> Converter:
    def converter(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
        x = before(c, inputs[0])
        over = _over_axes(c, inputs, attrs)
        return after(c, x if over is None else over(op, x, bool(attrs.get("keepdims", 1))))

    return converter


def _reduce(c: Context, op: Callable[..., Expr], x: Expr, axes: list[int], keep: bool) -> Expr:
    dims = c.dims(x)
    if op not in _NEUTRAL or 0 not in [dims[axis] for axis in axes]:
        return c.emit(op(x, axes, keep))
    # Nothing to reduce, which TVM's reductions answer with garbage.
    kept = [1 if i in axes else dim for i, dim in enumerate(dims) if keep or i not in axes]
    return c.emit(
        R.broadcast_to(const(_NEUTRAL[op](c.dtype(x)), c.dtype(x)), relax.ShapeExpr(kept))
    )


def _abs(c: Context, x: Expr) -> Expr:
    return c.emit(R.abs(x))


def _square(c: Context, x: Expr) -> Expr:
    return c.emit(R.multiply(x, x))


def _root(c: Context, x: Expr) -> Expr:
    if c.is_float(x):
        return R.sqrt(x)
    return c.astype(c.emit(R.sqrt(c.astype(x, "float64"))), c.dtype(x))


def _log(c: Context, x: Expr) -> Expr:
    if c.is_float(x):
        return R.log(x)
    return c.astype(c.emit(R.log(c.astype(x, "float64"))), c.dtype(x))


def _log_sum_exp(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    over = _over_axes(c, inputs, attrs)
    if over is None:
        return x
    keep = bool(attrs.get("keepdims", 1))
    # The largest element is taken out, so that exp cannot overflow.
    top = over(R.max, x, True)
    # Over no elements it is -inf.
    finite = c.emit(R.where(c.emit(R.isfinite(top)), top, c.scalar(0, x)))
    total = over(R.sum, c.emit(R.exp(c.emit(R.subtract(x, finite), c.dims(x)))), keep)
    shift = finite if keep else over(R.max, finite, False)
    return c.broadcast(R.add, c.emit(R.log(total)), shift)


def _with_bool(op: Callable[..., Expr]) -> Callable[..., Expr]:
    """Max and Min are defined on bool as well, where TIR has no reducer."""

    def reducer(x: Expr, axes: list[int], keep: bool) -> Expr:
        if str(x.ty.dtype) != "bool":
            return op(x, axes, keep)
        return R.astype(op(R.astype(x, "int8"), axes, keep), "bool")

    return reducer


def _arg(op: Callable[..., Expr]) -> Converter:
    def converter(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
        x = inputs[0]
        axis, keep = c.axis(attrs.get("axis", 0), c.rank(x)), bool(attrs.get("keepdims", 1))
        if not attrs.get("select_last_index"):
            return op(x, axis, keep)
        # The first of the reversed tensor is the last.
        place = c.emit(op(c.emit(R.flip(x, axis)), axis, keep))
        size = c.dims(x)[axis]
        if isinstance(size, int):
            return R.subtract(c.ints(size - 1), place)
        last = c.emit(R.shape_to_tensor(relax.ShapeExpr([size - 1])))
        return R.subtract(c.reshape(last, []), place)

    return converter


def _cumulative(op: Callable[..., Expr]) -> Converter:
    def converter(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
        x, rank = inputs[0], c.rank(inputs[0])
        known = c.constant(inputs[1])
        # Of one axis only, so that known or not makes no difference.
        if known is not None or rank == 1:
            axis = 0 if known is None else c.axis(int(known.reshape(())), rank)
            return _along(c, op, x, axis, attrs)
        # In front of the axis, along it, behind it: three axes for any.
        place = c.emit(R.floor_mod(c.reshape(c.astype(inputs[1], "int64"), [1]), c.ints(rank)))
        sizes, order = c.shape_tensor(x), c.ints(list(range(rank)))
        parts = [
            c.emit(R.prod(c.emit(R.where(c.emit(side(order, place)), sizes, c.ints(1))), [0], True))
            for side in (R.less, R.equal, R.greater)
        ]
        dims = c.symbols_of(c.emit(R.concat(parts, 0)), 3, f"{c.hint}_parts")
        return c.reshape(c.emit(_along(c, op, c.reshape(x, dims), 1, attrs)), c.dims(x))

    return converter


def _along(c: Context, op: Callable[..., Expr], x: Expr, axis: int, attrs: Attrs) -> Expr:
    reverse = bool(attrs.get("reverse"))
    if reverse:
        x = c.emit(R.flip(x, axis))
    y = op(x, axis, c.dtype(x), bool(attrs.get("exclusive")))
    return R.flip(c.emit(y), axis) if reverse else y


def _limit(dtype: str, largest: bool) -> float:
    if dtype == "bool":
        return largest
    if "float" in dtype:
        return np.inf if largest else -np.inf
    return np.iinfo(dtype).max if largest else np.iinfo(dtype).min


_MAX, _MIN = _with_bool(R.max), _with_bool(R.min)

# What a reduction over no elements gives.
_NEUTRAL: dict[Callable[..., Expr], Callable[[str], float]] = {
    R.sum: lambda dtype: 0,
    R.prod: lambda dtype: 1,
    _MAX: lambda dtype: _limit(dtype, False),
    _MIN: lambda dtype: _limit(dtype, True),
}

CONVERTERS: dict[str, Converter] = {
    "ArgMax": _arg(R.argmax),
    "ArgMin": _arg(R.argmin),
    "CumProd": _cumulative(R.cumprod),
    "CumSum": _cumulative(R.cumsum),
    "ReduceL1": _reduction(R.sum, _abs),
    "ReduceL2": _reduction(R.sum, _square, _root),
    "ReduceLogSum": _reduction(R.sum, after=_log),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _reduction(_MAX),
    "ReduceMean": _reduction(R.mean),
    "ReduceMin": _reduction(_MIN),
    "ReduceProd": _reduction(R.prod),
    "ReduceSum": _reduction(R.sum),
    "ReduceSumSquare": _reduction(R.sum, _square),
}
