"""Comparison, logic, bits and choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters.arithmetic import binary, unary

Attrs = dict[str, Any]
Inputs = list[Any]


def _where(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    return c.broadcast(R.where, *inputs, name=c.node.output[0])


def _bit_shift(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """A shift by all bits or more, which the machine leaves open, shifts everything out."""
    x, count = inputs
    dtype = c.dtype(x)
    left, signed = attrs["direction"] == "LEFT", not dtype.startswith("u")
    last = c.scalar(np.dtype(dtype).itemsize * 8 - 1, count)
    beyond = c.emit(R.greater(count, last))
    if signed:
        beyond = c.emit(R.logical_or(beyond, c.emit(R.less(count, c.scalar(0, count)))))
    inside = c.emit(R.where(beyond, last, count))
    shifted = c.broadcast(R.left_shift if left else R.right_shift, x, inside)
    if signed and not left:
        return shifted
    return c.broadcast(R.where, beyond, c.scalar(0, x), shifted)


def _reflexive(op: Callable[..., Expr]) -> Converter:
    """A comparison that holds between a number and itself, but not between NaN and NaN.

    TVM's simplifier takes every a == a for true.
    """
    plain = binary(op)

    def converter(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
        a, b = inputs
        if a.same_as(b) and c.is_float(a):
            return R.logical_not(c.emit(R.isnan(a)))
        return plain(c, inputs, attrs)

    return converter


CONVERTERS: dict[str, Converter] = {
    "And": binary(R.logical_and),
    "BitShift": _bit_shift,
    "BitwiseAnd": binary(R.bitwise_and),
    "BitwiseNot": unary(R.bitwise_not),
    "BitwiseOr": binary(R.bitwise_or),
    "BitwiseXor": binary(R.bitwise_xor),
    "Equal": _reflexive(R.equal),
    "Greater": binary(R.greater),
    "GreaterOrEqual": _reflexive(R.greater_equal),
    "Less": binary(R.less),
    "LessOrEqual": _reflexive(R.less_equal),
    "Not": unary(R.logical_not),
    "Or": binary(R.logical_or),
    "Where": _where,
    "Xor": binary(R.logical_xor),
}
