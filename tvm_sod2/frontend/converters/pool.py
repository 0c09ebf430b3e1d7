"""Pooling over windows and over whole images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from tvm import relax, te, tirx
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters.kernels import emit_te
from tvm_sod2.frontend.converters.pad import pad_constant
from tvm_sod2.frontend.converters.windows import Window, window
from tvm_sod2.frontend.dims import product

Attrs = dict[str, Any]
Inputs = list[Any]

_MAX = {1: R.nn.max_pool1d, 2: R.nn.max_pool2d, 3: R.nn.max_pool3d}
_AVG = {1: R.nn.avg_pool1d, 2: R.nn.avg_pool2d, 3: R.nn.avg_pool3d}
_LAYOUT = {1: "NCW", 2: "NCHW", 3: "NCDHW"}


def _emit_pool(c: Context, ops: dict[int, Any], x: Expr, w: Window, **more: Any) -> Expr:
    """Relax's ceil_mode is not used: its dims are conditions, of which less can be proven."""
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


def _ceiled(w: Window) -> Window:
    """The window that, rounded down, takes the positions that `w` takes rounded up.

    ceil_mode adds a position where the last one would leave out an element, unless it began in the
    padding at the end. Both say how far a window may hang over the end.
    """
    spatial = len(w.kernel)
    ends = [
        max(pad, min(pad + stride - 1, (size - 1) * dilation))
        for pad, stride, size, dilation in zip(
            w.pads[spatial:], w.strides, w.kernel, w.dilations, strict=True
        )
    ]
    return replace(w, pads=w.pads[:spatial] + ends)


def _with_zeros(c: Context, w: Window) -> Window:
    """The window over an image with its padding in it; what is left hangs over the end."""
    spatial = len(w.kernel)
    before, after = w.pads[:spatial], w.pads[spatial:]
    x = pad_constant(c, w.x, [0, 0, *before], [0, 0, *after], c.scalar(0, w.x))
    over = [up - pad for up, pad in zip(_ceiled(w).pads[spatial:], after, strict=True)]
    return replace(w, x=x, pads=[0] * spatial + over)


def _lowest(dtype: str) -> float:
    return -np.inf if "float" in dtype else np.iinfo(dtype).min


def _max_pool(c: Context, inputs: Inputs, attrs: Attrs) -> Expr | list[Expr]:
    x = inputs[0]
    w = window(c, x, attrs["kernel_shape"], attrs, _lowest(c.dtype(x)))
    y = _emit_pool(c, _MAX, w.x, _ceiled(w) if attrs.get("ceil_mode") else w)
    if len(c.node.output) < 2 or not c.node.output[1]:
        return y
    if w.explicit is not None:
        raise c.error("the positions of the largest elements need known pads; give them as pads")
    return [y, _positions(c, x, y, w, bool(attrs.get("storage_order")))]


def _positions(c: Context, x: Expr, y: Expr, w: Window, columns_first: bool) -> Expr:
    """Return where in the flattened input each window's first largest element is."""
    spatial = len(w.kernel)
    none = tirx.max_value("int64")

    def compute(data: te.Tensor, best: te.Tensor) -> te.Tensor:
        taps = [te.reduce_axis((0, k), name=f"k{i}") for i, k in enumerate(w.kernel)]
        sizes = data.shape[2:]

        def element(n: Any, channel: Any, *index: Any) -> Any:
            at = [
                i * w.strides[d] + taps[d] * w.dilations[d] - w.pads[d] for d, i in enumerate(index)
            ]
            inside = [tirx.all(p >= 0, p < size) for p, size in zip(at, sizes, strict=True)]
            flat = n * data.shape[1] + channel
            order = range(spatial)
            for size in sizes:
                flat = flat * size
            inner: Any = tirx.const(0, "int64")
            for d in reversed(order) if columns_first else order:
                inner = inner * sizes[d] + at[d]
            hit = tirx.if_then_else(
                tirx.all(*inside), data(n, channel, *at) == best(n, channel, *index), False
            )
            return te.min(tirx.if_then_else(hit, flat + inner, none), axis=taps)

        return te.compute(best.shape, element, name="positions")

    return emit_te(c, compute, x, y)


def _max_unpool(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """Put each element back where MaxPool found it, among zeros."""
    x, places, shape = (*inputs, None)[:3]
    spatial = c.rank(x) - 2
    kernel, pads = attrs["kernel_shape"], attrs.get("pads") or [0] * (2 * spatial)
    strides = attrs.get("strides") or [1] * spatial
    dims = c.dims(x)
    size = [
        (dim - 1) * strides[i] - pads[i] - pads[spatial + i] + kernel[i]
        for i, dim in enumerate(dims[2:])
    ]
    if shape is not None:
        # Positions count in the smaller result, so another size would need them moved.
        raise c.error("output_shape cannot be imported; leave it out")
    whole = [*dims[:2], *size]
    zeros = c.emit(R.full(relax.ShapeExpr([product(whole)]), c.scalar(0, x)))
    flat, where = (c.reshape(value, [product(dims)]) for value in (x, places))
    return c.reshape(c.emit(R.scatter_elements(zeros, where, flat, 0), [product(whole)]), whole)


def _average_pool(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    w = window(c, x, attrs["kernel_shape"], attrs, 0.0)
    include, ceil_mode = bool(attrs.get("count_include_pad")), bool(attrs.get("ceil_mode"))
    if ceil_mode:
        # Padding may count; what ceil_mode adds at the end never does.
        w = _with_zeros(c, w) if include and any(w.pads) else _ceiled(w)
    mean = _emit_pool(c, _AVG, w.x, w, count_include_pad=include and not ceil_mode)
    if w.explicit is None or include:
        return mean
    # The zeros are in x already: divide by the share of the window that lies inside.
    spatial = len(w.kernel)
    ones = c.emit(R.full(relax.ShapeExpr([1, 1, *c.dims(x)[2:]]), c.scalar(1, x)))
    before, after = w.explicit[:spatial], w.explicit[spatial:]
    inside = pad_constant(c, ones, [0, 0, *before], [0, 0, *after], c.scalar(0, x))
    return R.divide(mean, _emit_pool(c, _AVG, inside, w))


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
    if attrs.get("ceil_mode"):
        w = _ceiled(w)
    mean = _emit_pool(c, _AVG, w.x, w, count_include_pad=True)
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
    "MaxUnpool": _max_unpool,
}
