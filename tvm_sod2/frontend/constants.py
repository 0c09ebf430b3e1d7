"""Relax constants and their values."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax import Expr


def const(value: Any, dtype: str | None = None) -> Expr:
    """Return a constant of exactly the given dtype, or that of the array.

    ``relax.const`` alone narrows int64 and float64 arrays to 32 bits.
    """
    array = np.asarray(value)
    if dtype is not None and str(array.dtype) != dtype:
        array = array.astype(dtype)
    # ascontiguousarray turns a scalar into a vector.
    array = np.ascontiguousarray(array).reshape(array.shape)
    return relax.const(array, str(array.dtype))


def is_constant(value: Any) -> bool:
    return isinstance(value, tvm.ir.GenericConst)


def array_of(value: Any) -> np.ndarray | None:
    """Return the value of a constant, None for anything else."""
    return value.value.numpy() if is_constant(value) else None


_MAX_ENTRIES = 64
"""Reports list the entries of constants up to this size, as RDP tracks those of other values."""


def described(constant: Expr) -> dict[str, Any]:
    """Return a constant's dtype and dims and, where it is small and of whole numbers, entries."""
    array = constant.value.numpy()
    found: dict[str, Any] = {"dtype": str(array.dtype), "dims": list(array.shape)}
    if array.size <= _MAX_ENTRIES and array.dtype.kind in "iubf":
        entries = array.reshape(-1).tolist()
        if all(float(entry).is_integer() and abs(entry) < 1 << 63 for entry in entries):
            found["value"] = [int(entry) for entry in entries]
    return found
