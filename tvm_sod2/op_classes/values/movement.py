"""Entries that only move: NumPy's own movement functions on object arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tvm

from tvm_sod2.op_classes.fact import Fact
from tvm_sod2.op_classes.row import Values, ValueTransfer
from tvm_sod2.op_classes.symbolic import Arithmetic
from tvm_sod2.op_classes.values.common import constant_dims, constants, number, small_dims


def movement(function: Callable[[tvm.ir.Call, np.ndarray], np.ndarray]) -> ValueTransfer:
    """`function` is NumPy's own counterpart on the first argument's entries."""

    def transfer(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
        if facts[0].value is None:
            return None
        return np.asarray(function(call, facts[0].value), dtype=object)

    return transfer


def parts(function: Callable[[tvm.ir.Call, list[np.ndarray]], np.ndarray]) -> ValueTransfer:
    """The same for an operator on a tuple of tensors; what is not tracked becomes unknown."""

    def transfer(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
        arrays = [_entries_or_unknown(field) for field in facts[0].fields]
        if not arrays or any(array is None for array in arrays):
            return None
        return np.asarray(function(call, [a for a in arrays if a is not None]), dtype=object)

    return transfer


def _entries_or_unknown(fact: Fact) -> np.ndarray | None:
    """The entries; of a small tensor that is not tracked, as many unknown ones."""
    if fact.value is not None:
        return fact.value
    dims = small_dims(fact.ty)
    return None if dims is None else np.full(dims, None, dtype=object)


concat = parts(lambda call, arrays: np.concatenate(arrays, axis=int(call.attrs.axis or 0)))
stack = parts(lambda call, arrays: np.stack(arrays, axis=int(call.attrs.axis or 0)))
flip = movement(lambda call, value: np.flip(value, int(call.attrs.axis)))
transpose = movement(lambda call, value: np.transpose(value, call.attrs.axes))
tile = movement(lambda call, value: np.tile(value, [int(r) for r in call.attrs.repeats]))


def repeat(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """Each entry so many times; without an axis the tensor is flattened first."""
    axis = None if call.attrs.axis is None else int(call.attrs.axis)
    return None if facts[0].value is None else facts[0].value.repeat(int(call.attrs.repeats), axis)


def split(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """One array per field of the result, as large as its type says."""
    value, axis = facts[0].value, int(call.attrs.axis)
    if value is None:
        return None
    fields = [constant_dims(field) for field in call.ty.fields]
    if any(dims is None for dims in fields):
        return None
    borders = np.cumsum([dims[axis] for dims in fields if dims is not None])[:-1]
    return tuple(np.split(value, borders, axis=axis))


def strided_slice(_call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """Axes, begins, ends and strides are tuples of numbers, constants here."""
    if facts[0].value is None:
        return None
    numbers = [constants(fact) for fact in facts[1:]]
    if any(array is None for array in numbers):
        return None
    axes, begins, ends = (array.tolist() for array in numbers[:3] if array is not None)
    strides = [1] * len(axes) if len(numbers) < 4 or numbers[3] is None else numbers[3].tolist()
    return _sliced(facts[0].array, axes, begins, ends, strides)


def dynamic_strided_slice(_call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """Begins, ends and strides are tensors with a number for each axis."""
    if facts[0].value is None:
        return None
    numbers = [constants(fact) for fact in facts[1:4]]
    if any(array is None for array in numbers):
        return None
    begins, ends, strides = (array.tolist() for array in numbers if array is not None)
    return _sliced(facts[0].array, list(range(len(begins))), begins, ends, strides)


def _sliced(
    source: np.ndarray, axes: list[int], begins: list[int], ends: list[int], strides: list[int]
) -> Values:
    window: list[slice] = [slice(None)] * source.ndim
    for axis, begin, end, stride in zip(axes, begins, ends, strides, strict=True):
        if stride == 0:
            return None
        # A negative stride that runs past the first entry has no non-negative end in Python.
        stop = None if stride < 0 and end < -source.shape[axis] else end
        window[axis] = slice(begin, stop, stride)
    return source[tuple(window)]


def reshape(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """The entries in the shape of the result, when that is constant."""
    value, dims = facts[0].value, constant_dims(call.ty)
    if value is None or dims is None or int(np.prod(dims)) != value.size:
        return None
    return value.reshape(dims)


def expand(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """broadcast_to a constant shape."""
    value, dims = facts[0].value, small_dims(call.ty)
    if value is None or dims is None:
        return None
    try:
        return np.broadcast_to(value, dims)
    except ValueError:  # The dims contradict each other, which the agreements report.
        return None


def pad(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """Widths stand in pairs before, after per axis; any of NumPy's modes of that name."""
    value, fill = facts[0].value, float(call.attrs.pad_value)
    widths = [int(width) for width in call.attrs.pad_width]
    mode = str(call.attrs.pad_mode)
    if value is None or min(widths, default=0) < 0:
        return None
    pairs = list(zip(widths[::2], widths[1::2], strict=True))
    if mode == "constant":
        if not fill.is_integer():
            return None
        grown = [before + n + after for (before, after), n in zip(pairs, value.shape, strict=True)]
        result = np.full(grown, int(fill), dtype=object)
        inside = zip(pairs, value.shape, strict=True)
        result[tuple(slice(before, before + n) for (before, _), n in inside)] = value
        return result
    if mode == "reflect" and all(max(p) < n for p, n in zip(pairs, value.shape, strict=True)):
        return np.pad(value, pairs, mode="reflect")
    return None


def triangle(keep: Callable[..., np.ndarray]) -> ValueTransfer:
    """tril or triu, whose NumPy counterpart is `keep`: 0 on the other side of the k-th diagonal."""

    def transfer(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
        value, k = facts[0].value, number(call.args[1], facts[1])
        if value is None or not isinstance(k, int):
            return None
        inside = keep(np.ones(value.shape[-2:], dtype=bool), k)
        return np.where(np.broadcast_to(inside, value.shape), value, 0).astype(object)

    return transfer


def meshgrid(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """Relax's type ignores "xy" (it is that of "ij"), so only "ij" is followed."""
    arrays = [_entries_or_unknown(field) for field in facts[0].fields]
    if call.attrs.indexing not in (None, "ij") or any(array is None for array in arrays):
        return None
    return tuple(np.meshgrid(*[a for a in arrays if a is not None], indexing="ij"))


def untouched_fields(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """Dropout while inferring: the data, and a mask of which nothing is said."""
    return facts[0].value, *[None] * (len(call.ty.fields) - 1)
