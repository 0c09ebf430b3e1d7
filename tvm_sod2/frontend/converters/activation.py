"""Activation functions; those that Relax lacks are spelled out in its arithmetic."""

from __future__ import annotations

import math
from typing import Any

from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters.arithmetic import unary
from tvm_sod2.frontend.dims import Dim, product

Attrs = dict[str, Any]
Inputs = list[Any]


def _relu(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    return R.nn.relu(x) if c.is_float(x) else R.maximum(x, c.scalar(0, x))


def _affine(c: Context, x: Expr, scale: float, offset: float) -> Expr:
    scaled = c.emit(R.multiply(x, c.scalar(scale, x)))
    return c.emit(R.add(scaled, c.scalar(offset, x)))


def _hard_sigmoid(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    line = _affine(c, inputs[0], attrs.get("alpha", 0.2), attrs.get("beta", 0.5))
    return R.clip(line, 0.0, 1.0)


def _hard_swish(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    gate = c.emit(R.clip(_affine(c, inputs[0], 1 / 6, 0.5), 0.0, 1.0))
    return R.multiply(inputs[0], gate)


def _leaky_relu(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    return R.nn.leakyrelu(inputs[0], attrs.get("alpha", 0.01))


def _piecewise(c: Context, x: Expr, negative: Expr, threshold: float = 0.0) -> Expr:
    """x above the threshold, else ``negative``."""
    return R.where(c.emit(R.greater(x, c.scalar(threshold, x))), x, negative)


def _exp_minus_one(c: Context, x: Expr) -> Expr:
    # Of min(x, 0): the branch not taken must not overflow.
    low = c.emit(R.minimum(x, c.scalar(0, x)))
    return c.emit(R.subtract(c.emit(R.exp(low)), c.scalar(1, x)))


def _elu(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    negative = c.emit(R.multiply(_exp_minus_one(c, x), c.scalar(attrs.get("alpha", 1.0), x)))
    return _piecewise(c, x, negative)


def _celu(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, alpha = inputs[0], attrs.get("alpha", 1.0)
    scaled = c.emit(R.divide(x, c.scalar(alpha, x)))
    return _piecewise(c, x, c.emit(R.multiply(_exp_minus_one(c, scaled), c.scalar(alpha, x))))


def _selu(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    alpha = attrs.get("alpha", 1.67326319217681884765625)
    gamma = attrs.get("gamma", 1.05070102214813232421875)
    negative = c.emit(R.multiply(_exp_minus_one(c, x), c.scalar(alpha, x)))
    return R.multiply(c.emit(_piecewise(c, x, negative)), c.scalar(gamma, x))


def _thresholded_relu(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    return _piecewise(c, x, c.scalar(0, x), attrs.get("alpha", 1.0))


def _shrink(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, lambd, bias = inputs[0], attrs.get("lambd", 0.5), attrs.get("bias", 0.0)
    above = c.emit(R.greater(x, c.scalar(lambd, x)))
    below = c.emit(R.less(x, c.scalar(-lambd, x)))
    low = c.emit(R.where(below, c.emit(R.add(x, c.scalar(bias, x))), c.scalar(0, x)))
    return R.where(above, c.emit(R.subtract(x, c.scalar(bias, x))), low)


def _prelu(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, slope = inputs
    # Before opset 7, one slope per channel.
    if c.opset < 7 and c.rank(slope) == 1 and c.dims(slope)[0] != 1:
        slope = c.reshape(slope, c.dims(slope) + [1] * (c.rank(x) - 2))
    axis = _channel(c.dims(x), c.dims(slope))
    if axis is not None and c.is_float(x):
        # One operator, which takes any layout and fuses with the convolution before it.
        return R.nn.prelu(x, c.reshape(slope, [c.dims(x)[axis]]), axis)
    negative = c.broadcast(R.multiply, x, slope)
    return c.broadcast(R.where, c.emit(R.less(x, c.scalar(0, x))), negative, x)


def _channel(dims: list[Dim], slopes: list[Dim]) -> int | None:
    """The axis of x along which alone the slopes differ, if it has a constant size."""
    axes = [axis - len(slopes) for axis, dim in enumerate(slopes) if dim != 1]
    if len(axes) != 1 or len(slopes) > len(dims):
        return None
    (axis,) = axes
    alike = isinstance(dims[axis], int) and dims[axis] == slopes[axis]
    return axis + len(dims) if alike else None


def _gelu(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    tanh = attrs.get("approximate", "none") == "tanh"
    return (R.nn.gelu_tanh if tanh else R.nn.gelu)(inputs[0])


def _softplus(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    # max(x, 0) + log(1 + exp(-|x|)): never overflows.
    x = inputs[0]
    tail = c.emit(R.exp(c.emit(R.negative(c.emit(R.abs(x))))))
    return R.add(c.emit(R.nn.relu(x)), c.emit(R.log(c.emit(R.add(tail, c.scalar(1, x))))))


def _softsign(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    return R.divide(x, c.emit(R.add(c.emit(R.abs(x)), c.scalar(1, x))))


def _mish(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    return R.multiply(inputs[0], c.emit(R.tanh(c.emit(_softplus(c, inputs, {})))))


def _swish(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, alpha = inputs[0], attrs.get("alpha", 1.0)
    scaled = x if math.isclose(alpha, 1.0) else c.emit(R.multiply(x, c.scalar(alpha, x)))
    return R.multiply(x, c.emit(R.sigmoid(scaled)))


def _softmax_like(op: Any) -> Converter:
    def converter(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
        x = inputs[0]
        rank, dims = c.rank(x), c.dims(x)
        if c.opset >= 13:
            return op(x, c.axis(attrs.get("axis", -1), rank))
        # Before opset 13, over all axes from `axis` on, as if the tensor were a matrix.
        axis = c.axis(attrs.get("axis", 1), rank) if rank > 1 else 0
        if axis == rank - 1:
            return op(x, axis)
        matrix = c.reshape(x, [product(dims[:axis]), product(dims[axis:])])
        return c.reshape(c.emit(op(matrix, 1)), dims)

    return converter


def _hardmax(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    rank, dims = c.rank(x), c.dims(x)
    axis = c.axis(attrs.get("axis", -1 if c.opset >= 13 else 1), rank)
    if c.opset < 13 and axis != rank - 1:
        matrix = c.reshape(x, [product(dims[:axis]), product(dims[axis:])])
        return c.reshape(c.emit(_one_at_max(c, matrix, 1)), dims)
    return _one_at_max(c, x, axis)


def _one_at_max(c: Context, x: Expr, axis: int) -> Expr:
    best = c.emit(R.argmax(x, axis, True))
    positions = c.iota(c.dims(x)[axis])
    shape = [c.dims(x)[axis] if i == axis else 1 for i in range(c.rank(x))]
    hit = c.emit(R.equal(best, c.reshape(positions, shape)))
    return R.where(hit, c.scalar(1, x), c.scalar(0, x))


CONVERTERS: dict[str, Converter] = {
    "Celu": _celu,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Hardmax": _hardmax,
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _softmax_like(R.nn.log_softmax),
    "Mish": _mish,
    "PRelu": _prelu,
    "Relu": _relu,
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": unary(R.sigmoid),
    "Softmax": _softmax_like(R.nn.softmax),
    "Softplus": _softplus,
    "Softsign": _softsign,
    "Swish": _swish,
    "ThresholdedRelu": _thresholded_relu,
}
