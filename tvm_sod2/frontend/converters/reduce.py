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

Attrs = dict[str, Any]
Inputs = list[Any]


def _axes(c: Context, inputs: Inputs, attrs: Attrs) -> list[int] | None:
    """Return the axes to reduce, None where the node leaves its input as it is."""
    rank = c.rank(inputs[0])
    if len(inputs) > 1 and inputs[1] is not None:
        axes = [int(axis) for axis in c.require_constant(inputs[1], "axes")]
    else:
        axes = attrs.get("axes") or []
    if not axes:
        return None if attrs.get("noop_with_empty_axes") else list(range(rank))
    return [c.axis(axis, rank) for axis in axes]


def _same(c: Context, x: Expr) -> Expr:
    return x


def _reduction(
    op: Callable[..., Expr],
    before: Callable[[Context, Expr], Expr] = _same,
    after: Callable[[Context, Expr], Expr] = _same,
) -> Converter:
    def converter(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
        x = before(c, inputs[0])
        axes = _axes(c, inputs, attrs)
        if axes is not None and c.rank(x):
            x = _reduce(c, op, x, axes, bool(attrs.get("keepdims", 1)))
        return after(c, x)

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
    axes = _axes(c, inputs, attrs)
    if axes is None or not c.rank(x):
        return x
    keep = bool(attrs.get("keepdims", 1))
    # The largest element is taken out, so that exp cannot overflow.
    top = c.emit(R.max(x, axes, True))
    total = c.emit(R.sum(c.emit(R.exp(c.emit(R.subtract(x, top)))), axes, True))
    y = c.emit(R.add(c.emit(R.log(total)), top))
    return y if keep else R.squeeze(y, axes)


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


def _top_k(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr]:
    x = inputs[0]
    k = int(c.require_constant(inputs[1], "K").reshape(())) if len(inputs) > 1 else attrs["k"]
    axis = c.axis(attrs.get("axis", -1), c.rank(x))
    if c.dtype(x) in ("uint16", "uint32", "uint64"):
        raise c.error(f"TVM cannot sort {c.dtype(x)}; cast its input to a signed type")
    both = c.emit(R.topk(x, k, axis, "both", bool(attrs.get("largest", 1)), "int64"))
    dims = c.dims(x)
    dims[axis] = k
    return [c.emit(relax.TupleGetItem(both, i), dims) for i in range(2)]


def _cumulative(op: Callable[..., Expr]) -> Converter:
    def converter(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
        x = inputs[0]
        axis = c.axis(int(c.require_constant(inputs[1], "axis").reshape(())), c.rank(x))
        reverse = bool(attrs.get("reverse"))
        if reverse:
            x = c.emit(R.flip(x, axis))
        y = op(x, axis, c.dtype(x), bool(attrs.get("exclusive")))
        return R.flip(c.emit(y), axis) if reverse else y

    return converter


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
    "TopK": _top_k,
}
