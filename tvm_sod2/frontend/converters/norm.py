"""Normalisations."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.dims import floordiv, is_same

Attrs = dict[str, Any]
Inputs = list[Any]


def _batch_norm(c: Context, inputs: Inputs, attrs: Attrs) -> Expr | list[Expr]:
    x, scale, bias, mean, variance = inputs
    if not attrs.get("spatial", 1):
        raise c.error("normalisation of each element (spatial=0) cannot be imported")
    epsilon = attrs.get("epsilon", 1e-5)
    if attrs.get("training_mode"):
        return _batch_norm_training(c, inputs, epsilon, attrs.get("momentum", 0.9))
    channel = [1, -1, *[1] * (c.rank(x) - 2)] if c.rank(x) > 1 else [-1]
    arrays = [c.constant(value) for value in (scale, bias, mean, variance)]
    if all(array is not None for array in arrays):
        # In float64, so that folding into a convolution later loses nothing.
        g, b, m, v = (np.asarray(array, "float64") for array in arrays)
        factor = g / np.sqrt(v + epsilon)
        dtype = c.dtype(x)
        factor_const = const(factor.reshape(channel).astype(dtype))
        offset = const((b - m * factor).reshape(channel).astype(dtype))
        return R.add(c.emit(R.multiply(x, factor_const)), offset)
    shape = [c.dims(scale)[0] if dim == -1 else dim for dim in channel]
    scale, bias, mean, variance = (c.reshape(value, shape) for value in inputs[1:])
    centred = c.broadcast(R.subtract, x, mean)
    return _scaled(c, centred, c.astype(variance, c.dtype(x)), epsilon, scale, bias)


def _batch_norm_training(c: Context, inputs: Inputs, epsilon: float, momentum: float) -> list[Expr]:
    """Normalise by the batch's own statistics, and move the running ones towards them."""
    x, scale, bias, *running = inputs
    channel = [1, *c.dims(scale), *[1] * (c.rank(x) - 2)]
    mean, centred, variance = _moments(c, x, [i for i in range(c.rank(x)) if i != 1])
    y = _scaled(c, centred, variance, epsilon, c.reshape(scale, channel), c.reshape(bias, channel))
    moved = []
    for old, new in zip(running, (mean, variance), strict=True):
        here = c.emit(R.multiply(c.reshape(new, c.dims(old)), c.scalar(1 - momentum, old)))
        moved.append(c.emit(R.add(c.emit(R.multiply(old, c.scalar(momentum, old))), here)))
    return [y, *moved]


def _scaled(
    c: Context, centred: Expr, variance: Expr, epsilon: float, scale: Expr, bias: Expr | None
) -> Expr:
    """centred * (scale / sqrt(variance + epsilon)) + bias: one division a channel"""
    deviation = c.emit(R.sqrt(c.emit(R.add(variance, c.scalar(epsilon, variance)))))
    y = c.broadcast(R.multiply, centred, c.broadcast(R.divide, scale, deviation))
    return y if bias is None else c.broadcast(R.add, y, bias)


def _moments(c: Context, x: Expr, axes: list[int]) -> tuple[Expr, Expr, Expr]:
    """Return mean, x - mean and variance over ``axes``, which stay as dims of 1."""
    mean = c.emit(R.mean(x, axes, True))
    centred = c.broadcast(R.subtract, x, mean)
    # Not the mean of centred squares: in one kernel, they need no memory.
    variance = c.emit(R.variance(x, axes, True))
    return mean, centred, variance


def _layer_norm(c: Context, inputs: Inputs, attrs: Attrs) -> Expr | list[Expr]:
    x, scale, bias = (*inputs, None)[:3]
    dtype, rank = c.dtype(x), c.rank(x)
    epsilon = attrs.get("epsilon", 1e-5)
    axes = list(range(c.axis(attrs.get("axis", -1), rank), rank))
    dims = [c.dims(x)[axis] for axis in axes]
    exact = c.rank(scale) == len(dims) and all(map(is_same, c.dims(scale), dims))
    same_bias = bias is None or (
        c.rank(bias) == len(dims) and all(map(is_same, c.dims(bias), dims))
    )
    known = all(isinstance(dim, int) for dim in dims)
    if len(c.node.output) == 1 and exact and same_bias and known and dtype == "float32":
        if bias is None:
            bias = const(np.zeros(dims, dtype))
        return R.nn.layer_norm(x, scale, bias, axes, epsilon)
    wide = c.astype(x, "float32") if attrs.get("stash_type", 1) == 1 else x
    mean, centred, variance = _moments(c, wide, axes)
    one = const(1.0, c.dtype(wide))
    deviation = c.emit(R.sqrt(c.emit(R.add(variance, c.scalar(epsilon, variance)))))
    inverse = c.emit(R.divide(one, deviation))
    y = c.astype(c.broadcast(R.multiply, centred, inverse), dtype)
    y = c.broadcast(R.multiply, y, scale)
    if bias is not None:
        y = c.broadcast(R.add, y, bias)
    return [y, mean, inverse]


def _instance_norm(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, scale, bias = inputs
    shape = [1, *c.dims(scale), *[1] * (c.rank(x) - 2)]
    _, centred, variance = _moments(c, x, list(range(2, c.rank(x))))
    return _scaled(
        c,
        centred,
        variance,
        attrs.get("epsilon", 1e-5),
        c.reshape(scale, shape),
        c.reshape(bias, shape),
    )


def _group_norm(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, scale, bias = inputs
    dims, groups = c.dims(x), attrs["num_groups"]
    channels = dims[1]
    if isinstance(channels, int) and channels % groups:
        raise c.error(f"{channels} channels cannot be divided into {groups} groups")
    wide = c.astype(x, "float32") if attrs.get("stash_type", 1) == 1 else x
    grouped = c.reshape(wide, [dims[0], groups, floordiv(channels, groups), *dims[2:]])
    _, centred, variance = _moments(c, grouped, list(range(2, c.rank(grouped))))
    epsilon = attrs.get("epsilon", 1e-5)
    deviation = c.emit(R.sqrt(c.emit(R.add(variance, c.scalar(epsilon, variance)))))
    y = c.emit(R.divide(centred, deviation))
    # Before opset 21, one scale per group; since then, one per channel.
    tail = [1] * (len(dims) - 2)
    if c.opset < 21:
        shape = [1, groups, 1, *tail]
        y = c.astype(y, c.dtype(x))
        y = c.emit(R.multiply(y, c.reshape(scale, shape)))
        return c.reshape(c.emit(R.add(y, c.reshape(bias, shape))), dims)
    y = c.astype(c.reshape(y, dims), c.dtype(x))
    shape = [1, channels, *tail]
    y = c.emit(R.multiply(y, c.reshape(scale, shape)))
    return R.add(y, c.reshape(bias, shape))


def _mean_variance(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    axes = [c.axis(axis, c.rank(x)) for axis in attrs.get("axes", [0, 2, 3])]
    _, centred, variance = _moments(c, x, axes)
    deviation = c.emit(R.add(c.emit(R.sqrt(variance)), c.scalar(1e-9, x)))
    return R.divide(centred, deviation)


def _rms_norm(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, scale = inputs
    axes = list(range(c.axis(attrs.get("axis", -1), c.rank(x)), c.rank(x)))
    wide = c.astype(x, "float32") if attrs.get("stash_type", 1) == 1 else x
    square = c.emit(R.mean(c.emit(R.multiply(wide, wide)), axes, True))
    root = c.emit(R.sqrt(c.emit(R.add(square, c.scalar(attrs.get("epsilon", 1e-5), square)))))
    return c.broadcast(R.multiply, c.astype(c.emit(R.divide(wide, root)), c.dtype(x)), scale)


def _lp_norm(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    axis = c.axis(attrs.get("axis", -1), c.rank(x))
    if attrs.get("p", 2) == 1:
        length = c.emit(R.sum(c.emit(R.abs(x)), axis, True))
    else:
        length = c.emit(R.sqrt(c.emit(R.sum(c.emit(R.multiply(x, x)), axis, True))))
    # A vector of zeros stays one.
    zero = c.emit(R.equal(length, c.scalar(0, x)))
    return R.divide(x, c.emit(R.where(zero, c.scalar(1, x), length)))


CONVERTERS: dict[str, Converter] = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _lp_norm,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _rms_norm,
    "SimplifiedLayerNormalization": _rms_norm,
}
