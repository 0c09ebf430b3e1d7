"""Powers of two for softmax: cheaper than `math.exp`, for what cannot grow."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from tvm_sod2.schedules.kernel import Code, f32

# 2**x is a polynomial on [-1/2, 1/2], fitted here to 1e-7 relative, and a shift of the exponent.
_POLYNOMIAL = (
    1.3264726640128336e-3,
    9.671512732490405e-3,
    5.5507337450493674e-2,
    2.4022242083352502e-1,
    6.931469775980288e-1,
    1.0,
)
_ROUND = 12582912.0  # 1.5 * 2**23: adding it leaves the nearest integer in the low bits
_SMALLEST = -125.0


def exp2_of_negative(code: Code, x: Any, width: int, lane: Any) -> Any:
    """2**x for float32 x <= 0, 2e-7 relative off; 0 from -125 down, NaN for NaN.

    Written inside `Code.vector(width)`, in a bank; `lane` is the loop's.
    """
    given, shifted, rest = (code.register(width, name) for name in ("given", "shifted", "rest"))
    code.store(given, x, lane)
    code.store(shifted, given[lane] + f32(_ROUND), lane)
    code.store(rest, given[lane] - (shifted[lane] - f32(_ROUND)), lane)
    value: Any = f32(_POLYNOMIAL[0])
    for factor in _POLYNOMIAL[1:]:
        value = value * rest[lane] + f32(factor)
    exponent = tirx.reinterpret("int32", shifted[lane]) << tirx.const(23, "int32")
    power = tirx.reinterpret("float32", tirx.reinterpret("int32", value) + exponent)
    return tirx.Select(given[lane] < f32(_SMALLEST), f32(0.0), power)
