"""Convolutions over one, two or three spatial axes."""

from __future__ import annotations

from typing import Any

from tvm import te, tirx
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter, Dim
from tvm_sod2.frontend.converters.kernels import emit_te
from tvm_sod2.frontend.converters.open_windows import convolve_open, convolve_transpose_open
from tvm_sod2.frontend.converters.windows import window
from tvm_sod2.frontend.dims import expr, maximum, simplify

Attrs = dict[str, Any]
Inputs = list[Any]

_CONV = {1: R.nn.conv1d, 2: R.nn.conv2d, 3: R.nn.conv3d}
_TRANSPOSED = {1: R.nn.conv1d_transpose, 2: R.nn.conv2d_transpose, 3: R.nn.conv3d_transpose}
_AXES = {1: "W", 2: "HW", 3: "DHW"}


def add_channel_bias(c: Context, y: Expr, bias: Expr | None) -> Expr:
    """Add one number per channel (axis 1)."""
    if bias is None:
        return y
    return R.add(c.emit(y), c.reshape(bias, [1, *c.dims(bias), *[1] * (c.rank(y) - 2)]))


def _kernel(c: Context, weight: Expr, attrs: Attrs) -> list[Dim]:
    """Return the window's size: the attribute's where given, else the weight's."""
    dims = c.dims(weight)[2:]
    kernel = attrs.get("kernel_shape", dims)
    if len(kernel) != len(dims) or any(
        isinstance(dim, int) and isinstance(k, int) and dim != k
        for dim, k in zip(dims, kernel, strict=True)
    ):
        raise c.error(f"kernel_shape {kernel} contradicts its weight's shape {c.dims(weight)}")
    return list(kernel)


def _is_open(kernel: list[Dim]) -> bool:
    return not all(isinstance(size, int) for size in kernel)


def convolve(c: Context, x: Expr, weight: Expr, attrs: Attrs) -> Expr:
    """Emit the convolution that a node's attributes describe, without a bias."""
    kernel = _kernel(c, weight, attrs)
    w = window(c, x, kernel, attrs, 0.0)
    if _is_open(kernel):
        return convolve_open(c, w, weight, attrs.get("group", 1))
    spatial = len(kernel)
    y = _CONV[spatial](
        w.x,
        weight,
        strides=w.strides,
        padding=w.pads,
        dilation=w.dilations,
        groups=attrs.get("group", 1),
        data_layout="NC" + _AXES[spatial],
        kernel_layout="OI" + _AXES[spatial],
    )
    return c.emit(y)


def _conv(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, weight, bias = (*inputs, None)[:3]
    return add_channel_bias(c, convolve(c, x, weight, attrs), bias)


def _conv_transpose(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, weight, bias = (*inputs, None)[:3]
    kernel = _kernel(c, weight, attrs)
    spatial, groups = len(kernel), attrs.get("group", 1)
    strides = attrs.get("strides") or [1] * spatial
    dilations = attrs.get("dilations") or [1] * spatial
    extra: list[Dim] = list(attrs.get("output_padding") or [0] * spatial)
    pads: list[Dim] = list(attrs.get("pads") or [0] * (2 * spatial))
    shape = attrs.get("output_shape")
    auto = attrs.get("auto_pad", "NOTSET")
    span = [simplify((k - 1) * d + 1) for k, d in zip(kernel, dilations, strict=True)]
    full = [simplify(strides[i] * (size - 1) + span[i]) for i, size in enumerate(c.dims(x)[2:])]
    if shape or auto in ("SAME_UPPER", "SAME_LOWER"):
        for axis in range(spatial):
            if shape:
                total = simplify(full[axis] + extra[axis] - shape[axis - spatial])
                # Where the full result is too small, what is missing is output padding.
                extra[axis] = simplify(extra[axis] + maximum(-total, 0))
            else:
                total = simplify(span[axis] + extra[axis] - strides[axis])
            total = maximum(total, 0)
            less = simplify(total // 2)
            first = less if auto == "SAME_UPPER" else simplify(total - less)
            pads[axis], pads[spatial + axis] = first, simplify(total - first)
    elif auto == "VALID":
        pads = [0] * (2 * spatial)
    size = [
        shape[i - spatial] if shape else simplify(full[i] + extra[i] - pads[i] - pads[spatial + i])
        for i in range(spatial)
    ]
    if _is_open(kernel):
        y = convolve_transpose_open(c, x, weight, strides, dilations, pads[:spatial], size, groups)
        return add_channel_bias(c, y, bias)
    is_cut = _is_open([*pads, *extra])
    y = _TRANSPOSED[spatial](
        x,
        weight,
        strides=strides,
        padding=[0] * (2 * spatial) if is_cut else pads,
        output_padding=[0] * spatial if is_cut else extra,
        dilation=dilations,
        groups=groups,
        data_layout="NC" + _AXES[spatial],
        kernel_layout="IO" + _AXES[spatial],
    )
    y = c.emit(y)
    return add_channel_bias(c, _cut(c, y, pads[:spatial], size) if is_cut else y, bias)


def _cut(c: Context, y: Expr, before: list[Dim], size: list[Dim]) -> Expr:
    """Return ``size`` elements of the spatial axes from ``before`` on, zeros beyond their end."""

    def compute(data: te.Tensor, begins: list[Any], sizes: list[Any]) -> te.Tensor:
        def element(n: Any, m: Any, *index: Any) -> Any:
            at = [i + first for i, first in zip(index, begins, strict=True)]
            there = [place < dim for place, dim in zip(at, data.shape[2:], strict=True)]
            return tirx.if_then_else(tirx.all(*there), data(n, m, *at), tirx.const(0, data.dtype))

        return te.compute((*data.shape[:2], *map(expr, sizes)), element, name="cut")

    return emit_te(c, compute, y, before, size)


CONVERTERS: dict[str, Converter] = {"Conv": _conv, "ConvTranspose": _conv_transpose}
