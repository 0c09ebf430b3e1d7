"""Pooling over windows and over whole images."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters.pad import pad_constant
from tvm_sod2.frontend.converters.windows import Window, window

Attrs = dict[str, Any]
Inputs = list[Any]

_MAX = {1: R.nn.max_pool1d, 2: R.nn.max_pool2d, 3: R.nn.max_pool3d}
_AVG = {1: R.nn.avg_pool1d, 2: R.nn.avg_pool2d, 3: R.nn.avg_pool3d}
_LAYOUT = {1: "NCW", 2: "NCHW", 3: "NCDHW"}


def _emit_pool(c: Context, ops: dict[int, Any], x: Expr, w: Window, **more: Any) -> Expr:
    spatial = len(w.kernel)
    return c.emit(
        ops[spatial](
            x,
            pool_size=w.kernel,
            strides=w.strides,
            padding=w.pads,
            dilation=w.dilations,
            layout=_LAYOUT[spatial],
            **more,
        )
    )


def _lowest(dtype: str) -> float:
    return -np.inf if "float" in dtype else np.iinfo(dtype).min


def _max_pool(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    w = window(c, x, attrs["kernel_shape"], attrs, _lowest(c.dtype(x)))
    return _emit_pool(c, _MAX, w.x, w, ceil_mode=bool(attrs.get("ceil_mode")))


def _average_pool(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    w = window(c, x, attrs["kernel_shape"], attrs, 0.0)
    include = bool(attrs.get("count_include_pad"))
    ceil_mode = bool(attrs.get("ceil_mode"))
    mean = _emit_pool(c, _AVG, w.x, w, ceil_mode=ceil_mode, count_include_pad=include)
    if w.explicit is None or include:
        return mean
    # The zeros are in x already: divide by the share of the window that lies inside.
    spatial = len(w.kernel)
    ones = c.emit(R.full(relax.ShapeExpr([1, 1, *c.dims(x)[2:]]), c.scalar(1, x)))
    before, after = w.explicit[:spatial], w.explicit[spatial:]
    inside = pad_constant(c, ones, [0, 0, *before], [0, 0, *after], c.scalar(0, x))
    return R.divide(mean, _emit_pool(c, _AVG, inside, w, ceil_mode=ceil_mode))


def _spatial_axes(c: Context, x: Expr) -> list[int]:
    return list(range(2, c.rank(x)))


def _global_average(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    return R.mean(inputs[0], _spatial_axes(c, inputs[0]), True)


def _global_max(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    return R.max(inputs[0], _spatial_axes(c, inputs[0]), True)


def _lp_pool(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """(sum of |x| ** p over the window) ** (1 / p)"""
    x, p = inputs[0], float(attrs.get("p", 2))
    powers = _powers(c, x, p)
    w = window(c, powers, attrs["kernel_shape"], attrs, 0.0)
    ceil_mode = bool(attrs.get("ceil_mode"))
    mean = _emit_pool(c, _AVG, w.x, w, ceil_mode=ceil_mode, count_include_pad=True)
    total = c.emit(R.multiply(mean, c.scalar(float(np.prod(w.kernel)), x)))
    return R.power(total, c.scalar(1 / p, x))


def _powers(c: Context, x: Expr, p: float) -> Expr:
    return c.emit(R.power(c.emit(R.abs(x)), c.scalar(p, x)))


def _global_lp(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, p = inputs[0], float(attrs.get("p", 2))
    total = c.emit(R.sum(_powers(c, x, p), _spatial_axes(c, x), True))
    return R.power(total, c.scalar(1 / p, x))


CONVERTERS: dict[str, Converter] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "GlobalLpPool": _global_lp,
    "GlobalMaxPool": _global_max,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
}
