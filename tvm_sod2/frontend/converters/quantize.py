"""Quantised values as ordinary arithmetic: x = (q - zero point) * scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.dtypes import relax_dtype

Attrs = dict[str, Any]
Inputs = list[Any]


def _aligned(c: Context, x: Expr, parameter: Expr, attrs: Attrs) -> Expr:
    """Shape a scale or zero point so that it broadcasts: one per tensor, or one per slice."""
    if attrs.get("block_size"):
        raise c.error("blocked quantisation (block_size) cannot be imported")
    if c.rank(parameter) == 0 or c.dims(parameter) == [1]:
        return c.reshape(parameter, [])
    axis = c.axis(attrs.get("axis", 1), c.rank(x))
    size = c.dims(parameter)[0]
    return c.reshape(parameter, [size if i == axis else 1 for i in range(c.rank(x))])


def _dequantize(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, scale, zero = (*inputs, None)[:3]
    dtype = c.dtype(scale)
    if attrs.get("output_dtype"):
        dtype = relax_dtype(attrs["output_dtype"])
    factor = c.astype(_aligned(c, x, scale, attrs), "float32")
    # In 32 bits: the difference of two bytes does not fit into one.
    value = c.astype(x, "int32")
    if zero is not None:
        value = c.broadcast(R.subtract, value, c.astype(_aligned(c, x, zero, attrs), "int32"))
    return c.astype(c.broadcast(R.multiply, c.astype(value, "float32"), factor), dtype)


def _quantize(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, scale, zero = (*inputs, None)[:3]
    if zero is not None:
        dtype = c.dtype(zero)
    else:
        dtype = relax_dtype(attrs["output_dtype"]) if attrs.get("output_dtype") else "uint8"
    if not dtype.startswith(("int", "uint")):
        raise c.error(f"quantisation to {dtype} cannot be imported")
    wide = c.astype(x, "float32")
    factor = c.astype(_aligned(c, x, scale, attrs), "float32")
    steps = c.emit(R.round(c.broadcast(R.divide, wide, factor)))
    if zero is not None:
        offset = c.astype(_aligned(c, x, zero, attrs), "float32")
        steps = c.broadcast(R.add, steps, offset)
    limits = np.iinfo(dtype)
    return c.astype(c.emit(R.clip(steps, float(limits.min), float(limits.max))), dtype)


def _dynamic_quantize(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr]:
    """uint8 over the range of the data, which is widened to hold 0."""
    x = inputs[0]
    zero = const(0.0, "float32")
    axes = list(range(c.rank(x)))
    low = c.emit(R.minimum(c.emit(R.min(x, axes, False)), zero))
    high = c.emit(R.maximum(c.emit(R.max(x, axes, False)), zero))
    scale = c.emit(R.divide(c.emit(R.subtract(high, low)), const(255.0, "float32")))
    # A tensor of zeros has no range; any scale but 0 does, and ONNX Runtime takes 1.
    empty = c.emit(R.equal(scale, zero))
    scale = c.emit(R.where(empty, const(1.0, "float32"), scale))
    raw = c.emit(R.round(c.emit(R.divide(c.emit(R.negative(low)), scale))))
    point = c.astype(c.emit(R.clip(raw, 0.0, 255.0)), "uint8")
    return [c.emit(_quantize(c, [x, scale, point], {})), scale, point]


CONVERTERS: dict[str, Converter] = {
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "QuantizeLinear": _quantize,
}
