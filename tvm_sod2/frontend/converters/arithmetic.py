"""Elementwise arithmetic and mathematical functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter

Attrs = dict[str, Any]
Inputs = list[Any]


def unary(op: Callable[[Expr], Expr]) -> Converter:
    """Return the converter of an operator that Relax has under the same meaning."""
    return lambda c, inputs, attrs: op(inputs[0])


def aligned(c: Context, inputs: Inputs, attrs: Attrs) -> Inputs:
    """Return the operands, those of opset < 7 reshaped from ``axis`` to trailing alignment."""
    if c.opset >= 7 or not attrs.get("broadcast") or "axis" not in attrs:
        return inputs
    a, b = inputs
    axis = c.axis(attrs["axis"], c.rank(a))
    trailing = c.rank(a) - axis - c.rank(b)
    return [a, c.reshape(b, c.dims(b) + [1] * trailing)]


def binary(op: Callable[[Expr, Expr], Expr]) -> Converter:
    """Return the converter of a broadcasting operator of two operands."""
    return lambda c, inputs, attrs: c.broadcast(
        op, *aligned(c, inputs, attrs), name=c.node.output[0]
    )


def _variadic(op: Callable[[Expr, Expr], Expr]) -> Converter:
    return lambda c, inputs, attrs: reduce(lambda a, b: c.broadcast(op, a, b), inputs)


def _extreme(op: Callable[[Expr, Expr], Expr]) -> Converter:
    """The larger or smaller one, NaN where one of them is. Relax's operators take b if a is NaN."""

    def pair(c: Context, a: Expr, b: Expr) -> Expr:
        chosen = c.broadcast(op, a, b)
        if not c.is_float(a) or c.constant(a) is not None or c.constant(b) is not None:
            return chosen
        return c.broadcast(R.where, c.emit(R.isnan(a)), a, chosen)

    return lambda c, inputs, attrs: reduce(lambda a, b: pair(c, a, b), inputs)


def _mean(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    total = reduce(lambda a, b: c.broadcast(R.add, a, b), inputs)
    return R.divide(total, c.scalar(len(inputs), total))


def _pow(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    base, exponent = aligned(c, inputs, attrs)
    dtype = c.dtype(base)
    if c.is_float(base):
        return c.broadcast(R.power, base, c.astype(exponent, dtype))
    # No integer power exists; float64 is exact up to 2**53.
    wide = [c.astype(value, "float64") for value in (base, exponent)]
    return c.astype(c.broadcast(R.power, *wide), dtype)


def _mod(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    # fmod takes the dividend's sign, as C does; the other form the divisor's, as Python does.
    a, b = inputs
    if not attrs.get("fmod") and not c.is_float(a):
        return c.broadcast(R.floor_mod, a, b)
    rest = c.broadcast(R.mod, a, b)
    if attrs.get("fmod"):
        return rest
    # Not floor_mod: it is NaN for an infinite divisor.
    zero = c.scalar(0, a)
    signs = [c.emit(R.less(value, zero)) for value in (rest, b)]
    other = c.broadcast(R.logical_xor, *signs)
    moved = c.emit(R.logical_and(other, c.emit(R.not_equal(rest, zero))))
    return c.emit(R.where(moved, c.broadcast(R.add, rest, b), rest), c.dims(rest))


def _neg(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    return R.negative(inputs[0])


def _reciprocal(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    return R.divide(c.scalar(1, inputs[0]), inputs[0])


def _clip(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    bounds = [const(attrs[key], c.dtype(x)) if key in attrs else None for key in ("min", "max")]
    for i, value in enumerate(inputs[1:3]):
        bounds[i] = value if value is None else c.reshape(value, [])
    low, high = (c.constant(bound) if bound is not None else None for bound in bounds)
    if low is not None and high is not None and low <= high and c.is_float(x):
        return R.clip(x, float(low), float(high))
    if bounds[0] is not None:
        x = c.emit(R.maximum(x, bounds[0]))
    return x if bounds[1] is None else R.minimum(x, bounds[1])


def _float_unary(op: Callable[[Expr], Expr]) -> Converter:
    """An operator of ONNX on any number whose Relax form wants floats."""

    def converter(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
        x = inputs[0]
        return op(x) if c.is_float(x) else c.astype(c.emit(op(c.astype(x, "float64"))), c.dtype(x))

    return converter


def _round(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    return R.round(inputs[0])


def _isinf(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    signs = (attrs.get("detect_positive", 1), attrs.get("detect_negative", 1))
    if all(signs):
        return R.isinf(x)
    if not any(signs):
        return R.logical_and(c.emit(R.isinf(x)), const(False))
    return R.equal(x, c.scalar(np.inf if signs[0] else -np.inf, x))


CONVERTERS: dict[str, Converter] = {
    "Abs": unary(R.abs),
    "Acos": unary(R.acos),
    "Acosh": unary(R.acosh),
    "Add": binary(R.add),
    "Asin": unary(R.asin),
    "Asinh": unary(R.asinh),
    "Atan": unary(R.atan),
    "Atanh": unary(R.atanh),
    "Ceil": unary(R.ceil),
    "Clip": _clip,
    "Cos": unary(R.cos),
    "Cosh": unary(R.cosh),
    "Div": binary(R.divide),
    "Erf": unary(R.erf),
    "Exp": unary(R.exp),
    "Floor": unary(R.floor),
    "IsInf": _isinf,
    "IsNaN": unary(R.isnan),
    "Log": unary(R.log),
    "Max": _extreme(R.maximum),
    "Mean": _mean,
    "Min": _extreme(R.minimum),
    "Mod": _mod,
    "Mul": binary(R.multiply),
    "Neg": _neg,
    "Pow": _pow,
    "Reciprocal": _reciprocal,
    "Round": _round,
    "Sign": unary(R.sign),
    "Sin": unary(R.sin),
    "Sinh": unary(R.sinh),
    "Sqrt": _float_unary(R.sqrt),
    "Sub": binary(R.subtract),
    "Sum": _variadic(R.add),
    "Tan": unary(R.tan),
    "Tanh": unary(R.tanh),
}
