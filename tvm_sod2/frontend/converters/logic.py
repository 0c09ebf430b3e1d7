"""Comparison, logic, bits and choice."""

from __future__ import annotations

from typing import Any

from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters.arithmetic import binary, unary

Attrs = dict[str, Any]
Inputs = list[Any]


def _where(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    return c.broadcast(R.where, *inputs)


def _bit_shift(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    left = attrs["direction"] == "LEFT"
    return c.broadcast(R.left_shift if left else R.right_shift, *inputs)


CONVERTERS: dict[str, Converter] = {
    "And": binary(R.logical_and),
    "BitShift": _bit_shift,
    "BitwiseAnd": binary(R.bitwise_and),
    "BitwiseNot": unary(R.bitwise_not),
    "BitwiseOr": binary(R.bitwise_or),
    "BitwiseXor": binary(R.bitwise_xor),
    "Equal": binary(R.equal),
    "Greater": binary(R.greater),
    "GreaterOrEqual": binary(R.greater_equal),
    "Less": binary(R.less),
    "LessOrEqual": binary(R.less_equal),
    "Not": unary(R.logical_not),
    "Or": binary(R.logical_or),
    "Where": _where,
    "Xor": binary(R.logical_xor),
}
