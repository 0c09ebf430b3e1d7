"""Hyperbolic functions and the inverses of these and of sine and cosine, as arithmetic.

TVM has no vector form of them: LLVM gets calls that it does not know, or the vectoriser falls back
to single elements and fails where a result is used twice. Here they are polynomials where a formula
would cancel, and otherwise exp, log and sqrt, which `math` makes vector code of.

Source of the polynomials: S. Moshier's Cephes library, single precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log, pi
from typing import Any

from tvm import relax, te, tirx

Expr = Any
Function = Callable[[Expr], Expr]


def _f(value: float) -> tirx.FloatImm:
    return tirx.FloatImm("float32", value)


def _horner(z: Expr, coefficients: Sequence[float]) -> Expr:
    """The polynomial in z, highest coefficient first."""
    result: Expr = _f(coefficients[0])
    for coefficient in coefficients[1:]:
        result = result * z + _f(coefficient)
    return result


def _odd(x: Expr, coefficients: Sequence[float]) -> Expr:
    """x + x**3 P(x**2)"""
    z = x * x
    return x + x * z * _horner(z, coefficients)


def _signed(x: Expr, magnitude: Expr) -> Expr:
    return tirx.Select(x < _f(0), _f(-1), _f(1)) * magnitude


def _shared(value: Expr, body: Function) -> Expr:
    var = tirx.Var("v", "float32")
    return tirx.Let(var, value, body(var))


def _halves(x: Expr, body: Function) -> Expr:
    """`body` of e**(|x| / 2): its square leaves float32 no earlier than the result does."""
    return _shared(tirx.exp(tirx.abs(x) * _f(0.5)), body)


def sinh(x: Expr) -> Expr:
    near = _odd(x, [2.03721912945e-4, 8.33028376239e-3, 1.66667160211e-1])
    far = _halves(x, lambda z: _f(0.5) * z * z - _f(0.5) / z / z)
    return tirx.Select(tirx.abs(x) < _f(1), near, _signed(x, far))


def cosh(x: Expr) -> Expr:
    return _halves(x, lambda z: _f(0.5) * z * z + _f(0.5) / z / z)


def asinh(x: Expr) -> Expr:
    size = tirx.abs(x)
    near = _odd(x, [2.0122003309e-2, -4.2699340972e-2, 7.4847586088e-2, -1.6666288134e-1])
    # Beyond 1e4 the root is the argument, and its square would leave float32.
    small = tirx.min(size, _f(1e4))
    root = tirx.Select(size < _f(1e4), tirx.sqrt(small * small + _f(1)), size)
    far = _signed(x, tirx.log((size + root) * _f(0.5)) + _f(log(2)))
    return tirx.Select(size < _f(0.5), near, far)


def acosh(x: Expr) -> Expr:
    beyond = x - _f(1)
    near = tirx.sqrt(beyond) * _horner(
        beyond,
        [1.7596881071e-3, -7.5272886713e-3, 2.6454905019e-2, -1.1784741703e-1, 1.4142135263],
    )
    small = tirx.min(x, _f(1e4))
    root = tirx.Select(x < _f(1e4), tirx.sqrt(small * small - _f(1)), x)
    far = tirx.log((x + root) * _f(0.5)) + _f(log(2))
    return tirx.Select(beyond < _f(0.5), near, far)


def atanh(x: Expr) -> Expr:
    near = _odd(
        x,
        [1.81740078349e-1, 8.24370301058e-2, 1.46691431730e-1, 1.99782164500e-1, 3.33337300303e-1],
    )
    far = _f(0.5) * tirx.log((_f(1) + x) / (_f(1) - x))
    return tirx.Select(tirx.abs(x) < _f(0.5), near, far)


_ASIN = [4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1]


def _from_one(size: Expr) -> Expr:
    """arccos of 0.5 and more: twice the arcsine of the half angle's sine."""
    return _shared(tirx.sqrt(_f(0.5) * (_f(1) - size)), lambda half: _f(2) * _odd(half, _ASIN))


def asin(x: Expr) -> Expr:
    size = tirx.abs(x)
    far = _signed(x, _f(pi / 2) - _from_one(size))
    return tirx.Select(size <= _f(0.5), _odd(x, _ASIN), far)


def acos(x: Expr) -> Expr:
    size = tirx.abs(x)
    far = _shared(_from_one(size), lambda angle: tirx.Select(x < _f(0), _f(pi) - angle, angle))
    return tirx.Select(size <= _f(0.5), _f(pi / 2) - _odd(x, _ASIN), far)


_ATAN = [8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1]


def atan(x: Expr) -> Expr:
    size = tirx.abs(x)
    large = size > _f(1 + 2**0.5)  # the tangent of 3/8 pi
    part = tirx.Select(large, _f(-1) / size, (size - _f(1)) / (size + _f(1)))
    angle = tirx.Select(large, _f(pi / 2), _f(pi / 4))
    far = _signed(x, _shared(part, lambda v: angle + _odd(v, _ATAN)))
    return tirx.Select(size <= _f(2**0.5 - 1), _odd(x, _ATAN), far)


def _legalizer(name: str, function: Function) -> Callable[[relax.BlockBuilder, Any], Any]:
    def legalize(bb: relax.BlockBuilder, call: Any) -> Any:
        dtype = str(call.ty.dtype)
        if dtype not in ("float32", "float16", "bfloat16"):
            return call.op.get_attr("FLegalize")(bb, call)

        def compute(x: te.Tensor) -> te.Tensor:
            def element(*index: Any) -> Expr:
                value = x(*index)
                if dtype == "float32":
                    return function(value)
                return tirx.Cast(dtype, function(tirx.Cast("float32", value)))

            return te.compute(x.shape, element, name=name)

        return bb.call_te(compute, call.args[0], primfunc_name_hint=name)

    return legalize


FUNCTIONS: dict[str, Function] = {
    function.__name__: function for function in (sinh, cosh, asinh, acosh, atanh, asin, acos, atan)
}

ARCS = {f"relax.{name}": _legalizer(name, function) for name, function in FUNCTIONS.items()}
