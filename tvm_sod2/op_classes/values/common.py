"""What the transfers of entries share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tvm
from tvm import relax, tirx

from tvm_sod2.op_classes import rational
from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import MAX_ENTRIES, Fact, tracks
from tvm_sod2.op_classes.symbolic import Arithmetic

_EXACT_INTEGERS = {"float16": 1 << 11, "bfloat16": 1 << 8, "float32": 1 << 24, "float64": 1 << 53}


def constant_dims(ty: tvm.ir.Type) -> tuple[int, ...] | None:
    """The dims of a tensor type when all are constants."""
    if not isinstance(ty, relax.TensorType):
        return None
    dims = Fact(ty).dims
    if dims is None or not all(isinstance(d, tirx.IntImm) for d in dims):
        return None
    return tuple(int(d) for d in dims)


def small_dims(ty: tvm.ir.Type) -> tuple[int, ...] | None:
    """The dims of a tensor type whose entries are worth tracking."""
    dims = constant_dims(ty)
    if dims is None or not tracks(str(ty.dtype), int(np.prod(dims, dtype=object))):
        return None
    return dims


def is_small(count: int) -> bool:
    """Whether so many entries are tracked."""
    return count <= MAX_ENTRIES


def constants(fact: Fact) -> np.ndarray | None:
    """The entries as an int64 array when all are known integers, else None."""
    if fact.value is None or not all(isinstance(entry, int) for entry in fact.value.flat):
        return None
    try:
        return fact.value.astype(np.int64)
    except OverflowError:
        return None


def number(expr: tvm.ir.Expr, fact: Fact) -> Entry:
    """The entry of a scalar operand: an attribute-like argument or a tensor of rank 0."""
    if isinstance(expr, tirx.FloatImm):
        return rational.from_float(float(expr.value))
    return None if fact.value is None or fact.value.size != 1 else fact.value.flat[0]


def stored(arithmetic: Arithmetic, entry: Entry, dtype: str) -> Entry:
    """The entry as a tensor of this dtype holds it: wrapped where constant, None in doubt.

    64-bit and 32-bit integers are taken to hold what is computed from dims.
    """
    if entry is None or dtype == "bool":
        return entry
    if dtype in _EXACT_INTEGERS:
        fits = not isinstance(entry, int) or abs(entry) <= _EXACT_INTEGERS[dtype]
        return entry if fits else None
    if rational.among(entry):
        return None
    info = np.iinfo(dtype)
    if isinstance(entry, int):
        return (entry - int(info.min)) % (1 << info.bits) + int(info.min)
    if info.bits >= 32 and (info.min < 0 or arithmetic.not_negative(entry)):
        return entry
    bound = arithmetic.analyzer.const_int_bound(entry)
    return entry if info.min <= bound.min_value and bound.max_value <= info.max else None


def each(array: np.ndarray, function: Callable[[Entry], Entry]) -> np.ndarray:
    """`function` on every entry, as an object array of the same shape."""
    return np.asarray(np.frompyfunc(function, 1, 1)(array), dtype=object)


def in_front(array: np.ndarray, sizes: np.ndarray | int) -> bool:
    """Whether indices count from the front and stay inside, as the compiled kernels need it."""
    return bool(((array >= 0) & (array < sizes)).all())
