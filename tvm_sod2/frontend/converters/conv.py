"""Convolutions over one, two or three spatial axes."""

from __future__ import annotations

from typing import Any

from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters.windows import window
from tvm_sod2.frontend.dims import fixed

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


def _kernel(c: Context, weight: Expr, attrs: Attrs) -> list[int]:
    dims = c.dims(weight)[2:]
    kernel = attrs.get("kernel_shape", dims)
    if not all(isinstance(dim, int) for dim in kernel):
        raise c.error(f"the window's size {kernel} must be known; give the attribute kernel_shape")
    if any(isinstance(dim, int) and dim != k for dim, k in zip(dims, kernel, strict=False)):
        raise c.error(f"kernel_shape {kernel} contradicts its weight's shape {c.dims(weight)}")
    return list(kernel)


def convolve(c: Context, x: Expr, weight: Expr, attrs: Attrs) -> Expr:
    """Emit the convolution that a node's attributes describe, without a bias."""
    w = window(c, x, _kernel(c, weight, attrs), attrs, 0.0)
    spatial = len(w.kernel)
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
    spatial = len(kernel)
    strides = attrs.get("strides") or [1] * spatial
    dilations = attrs.get("dilations") or [1] * spatial
    extra = list(attrs.get("output_padding") or [0] * spatial)
    pads = list(attrs.get("pads") or [0] * (2 * spatial))
    shape = attrs.get("output_shape")
    auto = attrs.get("auto_pad", "NOTSET")
    if shape or auto in ("SAME_UPPER", "SAME_LOWER"):
        for axis in range(spatial):
            size = c.dims(x)[2 + axis]
            span = (kernel[axis] - 1) * dilations[axis] + 1
            wanted = shape[axis - spatial] if shape else size * strides[axis]
            full = strides[axis] * (size - 1) + extra[axis] + span
            total = fixed(full - wanted) if isinstance(size, int) else None
            if not shape:
                total = span + extra[axis] - strides[axis]
            if total is None:
                raise c.error("output_shape needs an input whose spatial dims are known")
            # Where the full result is too small, what is missing is output padding.
            extra[axis] += max(-total, 0)
            total = max(total, 0)
            upper = auto == "SAME_UPPER"
            first = total // 2 if upper else total - total // 2
            pads[axis], pads[spatial + axis] = first, total - first
    elif auto == "VALID":
        pads = [0] * (2 * spatial)
    y = _TRANSPOSED[spatial](
        x,
        weight,
        strides=strides,
        padding=pads,
        output_padding=extra,
        dilation=dilations,
        groups=attrs.get("group", 1),
        data_layout="NC" + _AXES[spatial],
        kernel_layout="IO" + _AXES[spatial],
    )
    return add_channel_bias(c, c.emit(y), bias)


CONVERTERS: dict[str, Converter] = {"Conv": _conv, "ConvTranspose": _conv_transpose}
