"""Branch-free float32 sine and cosine as TIR expressions that vectorise, exact for any argument.

The turns that x is, x / (2 pi), are wanted modulo 1, and x may be 2**127. Payne and Hanek multiply
by the bits of 1 / (2 pi) that matter for x. Here all of its first 174 bits, in pieces of 29, are
multiplied in float64, where the products are exact; each product's whole turns are taken off.
Polynomials: S. Moshier's Cephes library.
"""

from __future__ import annotations

from math import pi

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import FloatImm

from tvm_sod2.schedules.float_terms import Lets, bits, f32, from_bits, horner, i32

__all__ = ["MAX_ULP", "cos", "sin"]

# As in math.py.
MAX_ULP: dict[str, float] = {"sin": 2.0, "cos": 2.0}

# Their sum is 1 / (2 pi), 2e-54 less.
_TURNS = tuple(
    float.fromhex(piece)
    for piece in (
        "0x1.45f306dp-3",
        "0x1.9391054p-32",
        "0x1.4fe13abp-61",
        "0x1.d1f534dp-90",
        "0x1.b81b6c5p-119",
        "0x1.5993c43p-150",
    )
)
_WHOLE = 2.0**52
"""From here on a float64 is whole; adding it to what is less rounds that to a whole number."""
_ROUND = 1.5 * 2.0**52
_SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)


def sin(x: Expr) -> Expr:
    """Sine of a float32 expression in radians, at most 2 ulp off; NaN of infinities."""
    return _sine(x, 0)


def cos(x: Expr) -> Expr:
    """Cosine of a float32 expression in radians, at most 2 ulp off; NaN of infinities."""
    return _sine(x, 1)


def _sine(given: Expr, quarters: int) -> Expr:
    """The sine of x, or of |x| and a quarter turn: q quarters and an angle r, |r| <= pi / 4."""
    lets = Lets()
    x = lets(given)
    size = lets(tirx.Cast("float64", from_bits(bits(x) & i32(0x7FFFFFFF))))
    turns = _part_of_turn(size, _TURNS[-1])
    for piece in reversed(_TURNS[:-1]):
        turns = turns + _part_of_turn(size, piece)
    q = lets(turns * _f64(4.0))
    # By its bits: the simplifier would make 0 of q - ((q + round) - round).
    shifted = lets(tirx.reinterpret("int64", q + _f64(_ROUND)))
    rounded = tirx.reinterpret("float64", shifted) - _f64(_ROUND)
    r = lets(tirx.Cast("float32", (q - rounded) * _f64(pi / 2)))
    n = lets(tirx.Cast("int32", shifted) + i32(quarters))
    s = lets(r * r)
    sine = horner(s, _SIN) * s * r + r
    cosine = horner(s, _COS) * s * s - f32(0.5) * s + f32(1.0)
    value = bits(tirx.Select((n & i32(1)).equal(i32(1)), cosine, sine))
    sign = (n & i32(2)) << i32(30)
    if not quarters:
        sign = sign ^ (bits(x) & i32(-0x80000000))
    return lets.close(from_bits(value ^ sign))


def _part_of_turn(size: Expr, piece: float) -> Expr:
    """The product less its whole turns: 0 where it has no others, NaN of infinity.

    Sums of negative terms, since TVM's simplifier cancels differences as if they were exact.
    """
    turns = size * _f64(piece)
    part = turns + ((turns + _f64(_WHOLE)) + _f64(-_WHOLE)) * _f64(-1.0)
    return tirx.Select(turns < _f64(_WHOLE), part, turns + turns * _f64(-1.0))


def _f64(value: float) -> FloatImm:
    return FloatImm("float64", value)
