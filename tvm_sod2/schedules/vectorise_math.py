"""Puts the formulas of math.py where a function calls exp, log, erf, sin and the like."""

from __future__ import annotations

from collections.abc import Callable

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr, Op
from tvm.tirx import FloatImm, PrimFunc, Var

from tvm_sod2.schedules import math, trigonometry
from tvm_sod2.schedules.nan import PASS_NAN

__all__ = ["vectorise_math"]


def vectorise_math(func: PrimFunc) -> PrimFunc:
    """Replace float32 calls of exp, log, erf, tanh, sigmoid, sin, cos, round and constant powers.

    Before: ``B[i] = T.exp(A[i])``. After: ``B[i] = T.Let(...)`` of adds and multiplications.
    Functions of 16-bit floats are computed in float32: faster, more exact, for some LLVM's only
    way. Calls of float64 stay. Bounds by numbers let NaN pass.
    """
    func = tvm_ffi.structural_map(func, [(tirx.Let, _own)], order="post")
    return tvm_ffi.structural_map(func, [(Call, _replace), *PASS_NAN])


def _own(let: tirx.Let) -> tirx.Let:
    """The let with a variable of its own: loops that share an expression share the variable, and
    TVM's code generator refuses another value for it."""
    var = Var(let.var.name, let.var.ty)
    body = tvm_ffi.structural_map(let.body, (Var, lambda v: var if v.same_as(let.var) else v))
    return tirx.Let(var, let.value, body)


def _replace(call: Call) -> Expr:
    if not isinstance(call.op, Op):
        return call
    dtype = str(getattr(call.ty, "dtype", ""))
    builder = _BUILDERS.get(call.op.name)
    if dtype in ("float16", "bfloat16") and (builder is not None or call.op.name in _WIDENED):
        wide = [tirx.Cast("float32", arg) for arg in call.args]
        return tirx.Cast(dtype, _replace(tirx.call_intrin("float32", call.op.name, *wide)))
    if dtype != "float32" or builder is None:
        return call
    replaced = builder(*call.args)
    return call if replaced is None else replaced


def _constant_power(x: Expr, exponent: Expr) -> Expr | None:
    while isinstance(exponent, tirx.Cast):
        exponent = exponent.value
    return math.power(x, float(exponent.value)) if isinstance(exponent, FloatImm) else None


_BUILDERS: dict[str, Callable[..., Expr | None]] = {
    "tirx.exp": math.exp,
    "tirx.log": math.log,
    "tirx.erf": math.erf,
    "tirx.tanh": math.tanh,
    "tirx.sigmoid": math.sigmoid,
    "tirx.sin": trigonometry.sin,
    "tirx.cos": trigonometry.cos,
    "tirx.nearbyint": math.nearbyint,
    "tirx.pow": _constant_power,
}


_WIDENED = frozenset(
    f"tirx.{name}"
    for name in (
        *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cosh", "sinh", "tan"),
        *("exp2", "exp10", "log2", "log10", "log1p"),
    )
)
