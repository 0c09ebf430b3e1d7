"""Rounded numbers as bytes, in fewer instructions than rounding, bounding and casting take.

    uint8(min(max(round(x) + zero, 0.0), 255.0))
    -> uint8(max(int32 bits of (min(x, 255.0 - zero) + 1.5 * 2**23), bits of that - zero) + zero
             & 255)

Adding 1.5 * 2**23 rounds to whole numbers, halves to even, and leaves them in the low bits of the
float, whose last eight are then the byte's. Floats above zero are ordered as their bits are, so the
lower bound is one on integers and holds for -inf, too. That the upper bound stands between the
product that x is and the sum keeps LLVM from making a multiply-add of them, which rounds once
instead of twice. The zero point is a number, or widened from an integer, hence whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm_ffi
from tvm import tirx

from tvm_sod2.schedules.kernel import f32
from tvm_sod2.schedules.rounding import rounded

_MAGIC = 1.5 * 2.0**23
_BITS = int(np.float32(_MAGIC).view(np.int32))


def requantise_in_bits(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """`func` with the rule above applied to every cast of a rounded float32 to a byte."""
    return tvm_ffi.structural_map(func, [(tirx.Cast, _replace)])


def _replace(cast: Any) -> Any:
    dtype = str(cast.ty.dtype)
    if dtype not in ("int8", "uint8") or str(cast.value.ty.dtype) != "float32":
        return cast
    steps, low, high = _bounds(cast.value)
    limits = np.iinfo(dtype)
    if low is None or high is None or not limits.min <= low <= high <= limits.max:
        return cast
    summand, zero = _offset(steps)
    x = rounded(summand)
    if x is None or zero is None or not (low.is_integer() and high.is_integer()):
        return cast
    most = f32(high) - tirx.Cast("float32", zero)
    bits = tirx.reinterpret("int32", tirx.Min(x, most) + f32(_MAGIC))
    least = tirx.const(_BITS + int(low), "int32") - zero
    # The mask costs nothing; without it TVM's simplifier casts the number in `least`, too.
    return tirx.Cast(dtype, (tirx.Max(bits, least) + zero) & tirx.const(255, "int32"))


def _bounds(value: Any) -> tuple[Any, float | None, float | None]:
    """What is bounded by numbers from below and from above, and the two."""
    low = high = None
    while isinstance(value, tirx.Max | tirx.Min):
        bound, inner = (value.a, value.b) if _is_number(value.a) else (value.b, value.a)
        if not _is_number(bound):
            break
        if isinstance(value, tirx.Max) and low is None:
            low = float(bound.value)
        elif isinstance(value, tirx.Min) and high is None:
            high = float(bound.value)
        else:
            break
        value = inner
    return value, low, high


def _offset(value: Any) -> tuple[Any, Any]:
    """The summand beside a whole number of at most 16 bits, and that number in int32."""
    if not isinstance(value, tirx.Add):
        return value, tirx.const(0, "int32")
    for summand, zero in ((value.a, value.b), (value.b, value.a)):
        if isinstance(zero, tirx.Cast) and str(zero.value.ty.dtype) in ("int8", "uint8", "int16"):
            return summand, tirx.Cast("int32", zero.value)
        if _is_number(zero) and float(zero.value).is_integer() and abs(zero.value) < 2**15:
            return summand, tirx.const(int(zero.value), "int32")
    return value, None


def _is_number(value: Any) -> bool:
    return isinstance(value, tirx.FloatImm)
