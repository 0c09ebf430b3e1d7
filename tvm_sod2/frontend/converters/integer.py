"""Quantised products: exact integer arithmetic, scaled back afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters.conv import add_channel_bias, convolve
from tvm_sod2.frontend.converters.matmul import matmul

Attrs = dict[str, Any]
Inputs = list[Any]


def centred(c: Context, x: Expr, zero: Expr | None, axis: int) -> Expr:
    """Return x - zero point as int32; a vector of zero points runs along ``axis``."""
    wide = c.astype(x, "int32")
    if zero is None:
        return wide
    return c.broadcast(R.subtract, wide, along(c, c.astype(zero, "int32"), c.rank(x), axis))


def along(c: Context, parameter: Expr, rank: int, axis: int) -> Expr:
    """Shape a scale or zero point to broadcast: one number, a vector along ``axis``, or as is."""
    if c.rank(parameter) > 1:
        return parameter
    if c.rank(parameter) == 0 or c.dims(parameter) == [1]:
        return c.reshape(parameter, [])
    size = c.dims(parameter)[0]
    return c.reshape(parameter, [size if i == axis % rank else 1 for i in range(rank)])


def product_factor(c: Context, a: Expr, b: Expr, y: Expr) -> Expr:
    """Return a * b / y. Of constants it is computed here: its rounding decides between halves."""
    y = c.reshape(y, [])
    arrays = [c.constant(scale) for scale in (a, b, y)]
    left, right, divisor = arrays
    if left is not None and right is not None and divisor is not None:
        with np.errstate(all="ignore"):
            return const(left * right / divisor)
    return c.broadcast(R.divide, c.broadcast(R.multiply, a, b), y)


def quantised(c: Context, total: Expr, factor: Expr, zero: Expr | None, dtype: str) -> Expr:
    """Return saturate(round(total * factor) + zero point)."""
    steps = c.emit(R.round(c.broadcast(R.multiply, c.astype(total, "float32"), factor)))
    if zero is not None:
        steps = c.broadcast(R.add, steps, c.astype(c.reshape(zero, []), "float32"))
    limits = np.iinfo(dtype)
    return c.astype(c.emit(R.clip(steps, float(limits.min), float(limits.max))), dtype)


def _matmul_integer(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    a, b, zero_a, zero_b = (*inputs, None, None)[:4]
    left = centred(c, a, zero_a, c.rank(a) - 2)
    return matmul(c, left, centred(c, b, zero_b, c.rank(b) - 1))


def _qlinear_matmul(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    a, scale_a, zero_a, b, scale_b, zero_b, scale_y, zero_y = inputs
    left = centred(c, a, zero_a, c.rank(a) - 2)
    total = matmul(c, left, centred(c, b, zero_b, c.rank(b) - 1))
    rank = c.rank(total)
    row = along(c, c.astype(scale_a, "float32"), rank, rank - 2)
    column = along(c, c.astype(scale_b, "float32"), rank, rank - 1)
    factor = product_factor(c, row, column, c.astype(scale_y, "float32"))
    return quantised(c, total, factor, zero_y, c.dtype(zero_y))


def _conv_integer(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, weight, zero_x, zero_w = (*inputs, None, None)[:4]
    return convolve(c, centred(c, x, zero_x, 1), centred(c, weight, zero_w, 0), attrs)


def _qlinear_conv(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, scale_x, zero_x, weight, scale_w, zero_w, scale_y, zero_y, bias = (*inputs, None)[:9]
    total = convolve(c, centred(c, x, zero_x, 1), centred(c, weight, zero_w, 0), attrs)
    total = c.emit(add_channel_bias(c, total, bias))
    channels = along(c, scale_w, c.rank(total), 1)
    factor = product_factor(c, c.reshape(scale_x, []), channels, scale_y)
    return quantised(c, total, factor, zero_y, c.dtype(zero_y))


CONVERTERS: dict[str, Converter] = {
    "ConvInteger": _conv_integer,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
}
