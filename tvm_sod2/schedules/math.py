"""Branch-free float32 exp, log, erf, tanh and sigmoid as TIR expressions that vectorise.

TVM lowers a vector ``exp`` to one libm call per lane and a vector ``erf`` not at all. The builders
here use only adds, multiplications, selects and bit operations, so a vectorised loop over them
becomes vector code. All follow IEEE special values (infinities, NaN, signed zero, denormal results)
and hold the bounds in `MAX_ULP`, measured against float64 over the whole range by
tests/schedules/test_math.py.

Sources: S. Moshier's Cephes library (log) and N. Juffa's two-piece minimax erf; exp is fitted here.
"""

from __future__ import annotations

from math import inf, nan

from tvm import tirx
from tvm.ir import Expr

from tvm_sod2.schedules.float_terms import (
    Lets,
    at_least,
    at_most,
    bits,
    bits_of,
    f32,
    from_bits,
    horner,
    i32,
    with_sign,
)

__all__ = ["MAX_ULP", "erf", "exp", "log", "nearbyint", "power", "sigmoid", "tanh"]

# Largest error in units in the last place of the float32 result; the absolute error of erf, tanh
# and sigmoid is below 1.2e-7 everywhere.
MAX_ULP: dict[str, float] = {"exp": 2.0, "log": 1.5, "erf": 1.5, "tanh": 2.5, "sigmoid": 4.0}

_LARGEST_EXPANDED_POWER = 8
_LOG2_E = 1.4426950408889634
_LN_2_HIGH, _LN_2_LOW = 0.693359375, -2.12194440e-4  # products with m up to 2**8 are exact
_ROUND = 12582912.0
"""1.5 * 2**23: adding it leaves the nearest integer in the low bits of the mantissa."""
# (e**r - 1 - r) / r**2 on [-ln 2 / 2, ln 2 / 2], fitted here: e**r - 1 is 1.4e-8 relative off.
_EXP = (
    1.3882509665563703e-3,
    8.366580121219158e-3,
    4.1667200624942780e-2,
    1.6666543483734131e-1,
    4.9999997019767761e-1,
)
_LARGEST = 3.4028234663852886e38


def exp(x: Expr) -> Expr:
    """``e**x`` for a float32 expression, at most 2 ulp off, gradual underflow included.

    x = m ln 2 + r with |r| <= ln 2 / 2, then two factors of about 2**(m / 2): one of 2**m would
    leave the exponent's range at both ends.
    """
    lets = Lets()
    x = lets(x)
    x = lets(at_least(-105.0, x))
    # The biases of both factors' exponents: half of the low bits, rounded down and up.
    magic = _ROUND + 254.0
    shifted = bits(x * f32(_LOG2_E) + f32(magic))
    # At most 2**130, by integers: they have more ports than bounds of floats. What is above leaves
    # an r that grows without limit, as does its polynomial.
    shifted = lets(tirx.Min(shifted, i32(bits_of(magic + 130.0))))
    m = lets(from_bits(shifted) - f32(magic))
    r = lets((x - m * f32(_LN_2_HIGH)) - m * f32(_LN_2_LOW))
    half = lets(shifted >> i32(1))
    p = horner(r, [*_EXP, 1.0, 1.0])
    return lets.close((p * from_bits(half << i32(23))) * from_bits((shifted - half) << i32(23)))


def log(x: Expr) -> Expr:
    """Natural logarithm of a float32 expression, at most 1.5 ulp off.

    log(0) is -inf, that of negative numbers NaN.
    """
    lets = Lets()
    x = lets(x)
    tiny = x < f32(1.17549435e-38)  # no let: TVM's analyzer fails on a vector of booleans
    scaled = lets(bits(tirx.Select(tiny, x * f32(8388608.0), x)))
    # Offset by sqrt(1/2), so that the mantissa lies in [sqrt(1/2), sqrt(2)).
    exponent = lets((scaled - i32(0x3F3504F3)) >> i32(23))
    f = lets(from_bits(scaled - (exponent << i32(23))) - f32(1.0))
    e = lets(tirx.Cast("float32", exponent) - tirx.Select(tiny, f32(23.0), f32(0.0)))
    p = horner(
        f,
        [
            7.0376836292e-2,
            -1.1514610310e-1,
            1.1676998740e-1,
            -1.2420140846e-1,
            1.4249322787e-1,
            -1.6668057665e-1,
            2.0000714765e-1,
            -2.4999993993e-1,
            3.3333331174e-1,
        ],
    )
    square = lets(f * f)
    y = (f * square) * p + e * f32(-2.12194440e-4) - f32(0.5) * square
    finite = (f + y) + e * f32(0.693359375)
    edge = tirx.Select(x.equal(f32(0.0)), f32(-inf), f32(nan))
    return lets.close(
        tirx.Select(x > f32(0.0), tirx.Select(x < f32(inf), finite, x), edge),
    )


def erf(x: Expr) -> Expr:
    """Error function of a float32 expression, at most 1.5 ulp off; Juffa's two pieces."""
    lets = Lets()
    x = lets(x)
    t = lets(from_bits(bits(x) & i32(0x7FFFFFFF)))
    t = lets(at_most(4.0, t))
    s = lets(t * t)
    large = horner(t, [-1.72853470e-5, 3.83197126e-4, -3.88396438e-3, 2.42546219e-2])
    large = (large * t + f32(-1.06777877e-1)) * t + f32(-6.34846687e-1)
    large = lets((large * t + f32(-1.28717512e-1)) * t - t)
    small = horner(
        s,
        [
            -5.96761703e-4,
            4.99119423e-3,
            -2.67681349e-2,
            1.12819925e-1,
            -3.76125336e-1,
            1.28379166e-1,
        ],
    )
    less, factor = _exp_parts(lets, large)  # it is above -18
    large = f32(1.0) - (less * factor + factor)
    pieces = tirx.Select(t > f32(0.927734375), large, small * t + t)
    return lets.close(with_sign(pieces, x))


def tanh(x: Expr) -> Expr:
    """Hyperbolic tangent of a float32 expression, at most 2.5 ulp off: y / (y + 2) with
    y = e**(2 |x|) - 1, made of e**r - 1 and 2**m - 1, so that small x need no branch."""
    lets = Lets()
    x = lets(x)
    t = lets(from_bits(bits(x) & i32(0x7FFFFFFF)))
    t = lets(at_most(10.0, t))
    less, factor = _exp_parts(lets, lets(t + t))
    y = lets(less * factor + (factor - f32(1.0)))
    return lets.close(with_sign(y / (y + f32(2.0)), x))


def sigmoid(x: Expr) -> Expr:
    """``1 / (1 + e**-x)`` for a float32 expression, at most 4 ulp off, also where denormal."""
    lets = Lets()
    x = lets(x)
    # e**-|x| is exp with one factor: the polynomial is smaller by 2**30, the factor larger.
    t = lets(at_least(-105.0, from_bits(bits(x) | i32(-0x80000000))))
    magic = _ROUND + 127.0 + 30.0
    shifted = lets(t * f32(_LOG2_E) + f32(magic))
    m = lets(shifted - f32(magic))
    r = lets((t - m * f32(_LN_2_HIGH)) - m * f32(_LN_2_LOW))
    p = horner(r, [factor * 2.0**-30 for factor in (*_EXP, 1.0, 1.0)])
    e = lets(p * from_bits(bits(shifted) << i32(23)))
    return lets.close(tirx.Select(x < f32(0.0), e, f32(1.0)) / (f32(1.0) + e))


def _exp_parts(lets: Lets, x: Expr) -> tuple[Expr, Expr]:
    """e**r - 1 and 2**m with x = m ln 2 + r, |r| <= ln 2 / 2, for x whose e**x is no denormal."""
    magic = _ROUND + 127.0
    shifted = lets(x * f32(_LOG2_E) + f32(magic))
    m = lets(shifted - f32(magic))
    r = lets((x - m * f32(_LN_2_HIGH)) - m * f32(_LN_2_LOW))
    return horner(r, _EXP) * (r * r) + r, lets(from_bits(bits(shifted) << i32(23)))


def power(x: Expr, exponent: float) -> Expr | None:
    """``x**exponent`` as multiplications and a square root, or None where that is not exact enough.

    Taken: integers up to 8 in absolute value, and 0.5. Each product rounds once, so the error grows
    by half an ulp per multiplication.
    """
    if exponent == 0.5:
        lets = Lets()
        x = lets(x)
        # pow(-inf, 0.5) is +inf, unlike the root; that of -0.0 stays -0.0.
        return lets.close(tirx.Select(x < f32(-_LARGEST), f32(inf), tirx.sqrt(x)))
    if exponent != int(exponent) or abs(exponent) > _LARGEST_EXPANDED_POWER:
        return None
    lets = Lets()
    factor, result, left = lets(x), None, abs(int(exponent))
    while left:
        if left & 1:
            result = factor if result is None else lets(result * factor)
        left >>= 1
        if left:
            factor = lets(factor * factor)
    if result is None:
        return f32(1.0)
    return lets.close(f32(1.0) / result if exponent < 0 else result)


def nearbyint(x: Expr) -> Expr:
    """The nearest integer, halves to even; exact. Adding 2^23 leaves no bits behind the point."""
    lets = Lets()
    x = lets(x)
    size = lets(from_bits(bits(x) & i32(0x7FFFFFFF)))
    rounded = with_sign(lets(size + f32(8388608.0)) - f32(8388608.0), x)
    return lets.close(tirx.Select(size < f32(8388608.0), rounded, x))
