"""What formulas of float32 in TIR are made of: shared terms, constants, bits, polynomials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import FloatImm, IntImm, Var

__all__ = [
    "Lets",
    "at_least",
    "at_most",
    "bits",
    "bits_of",
    "f32",
    "from_bits",
    "horner",
    "i32",
    "with_sign",
]


class Lets:
    """Names for shared sub-expressions: TIR is walked as a tree, sharing by reference is lost.

    TVM's analyzer puts the value of a pure let wherever its variable stands, so building costs grow
    with the product of the uses along a chain of lets: the formulas use each name few times.
    """

    def __init__(self) -> None:
        self._bound: list[tuple[Var, Expr]] = []

    def __call__(self, value: Expr) -> Expr:
        if isinstance(value, Var):
            return value
        var = Var("t", value.ty)
        self._bound.append((var, value))
        return var

    def close(self, body: Expr) -> Expr:
        for var, value in reversed(self._bound):
            body = tirx.Let(var, value, body)
        return body


def f32(value: float) -> FloatImm:
    return FloatImm("float32", value)


def i32(value: int) -> IntImm:
    return IntImm("int32", value)


def bits_of(value: float) -> int:
    return int(np.float32(value).view(np.int32))


def bits(x: Expr) -> Expr:
    return tirx.reinterpret("int32", x)


def from_bits(x: Expr) -> Expr:
    return tirx.reinterpret("float32", x)


def with_sign(magnitude: Expr, x: Expr) -> Expr:
    return from_bits(bits(magnitude) | (bits(x) & i32(-0x80000000)))


def at_most(bound: float, x: Expr) -> Expr:
    """min(bound, x) that lets a NaN pass, as nan.py says."""
    return tirx.Min(f32(bound), x)


def at_least(bound: float, x: Expr) -> Expr:
    return tirx.Max(f32(bound), x)


def horner(x: Expr, coefficients: Sequence[float]) -> Expr:
    result: Expr = f32(coefficients[0])
    for coefficient in coefficients[1:]:
        result = result * x + f32(coefficient)
    return result
