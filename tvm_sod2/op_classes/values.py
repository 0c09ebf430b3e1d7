"""Forward transfer of entries (V-map): NumPy's own movement functions on object arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from tvm import tirx

from tvm_sod2.op_classes.fact import Fact, entries, tracks
from tvm_sod2.op_classes.row import ValueTransfer
from tvm_sod2.op_classes.symbolic import Arithmetic, Entry

LESS, LESS_EQUAL, GREATER, GREATER_EQUAL = operator.lt, operator.le, operator.gt, operator.ge


def equal_to(a: Any, b: Any) -> Any:
    """a == b; Python's own operator compares expressions by identity."""
    return a == b if isinstance(a, int) else tirx.EQ(a, b)


def unequal_to(a: Any, b: Any) -> Any:
    """a != b, likewise."""
    return a != b if isinstance(a, int) else tirx.NE(a, b)


def elementwise(function: Callable[..., Entry]) -> ValueTransfer:
    """Entry by entry with broadcasting; `function(arithmetic, *entries) -> entry`."""

    def transfer(_call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Any:
        if any(fact.value is None for fact in facts):
            return None
        arrays = [fact.array for fact in facts]
        if not tracks("int64", np.broadcast(*arrays).size if len(arrays) > 1 else arrays[0].size):
            return None
        ufunc = np.frompyfunc(lambda *args: function(arithmetic, *args), len(arrays), 1)
        return np.asarray(ufunc(*arrays), dtype=object)

    return transfer


def comparison(relation: Callable[[Any, Any], Any]) -> ValueTransfer:
    """1 or 0 where all values of the symbols decide the relation, a condition elsewhere."""
    return elementwise(lambda arithmetic, a, b: arithmetic.compare(relation, a, b))


def movement(function: Callable[[tvm.ir.Call, list[Fact]], np.ndarray]) -> ValueTransfer:
    """Entries only move: `function` is NumPy's own counterpart on the first argument's entries."""

    def transfer(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Any:
        if facts[0].value is None:
            return None
        return np.asarray(function(call, facts), dtype=object)

    return transfer


def identity(_call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Any:
    return facts[0].value


def cast(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Any:
    """Integer to integer keeps the entry: dims fit every integer type."""
    value, dtype = facts[0].value, str(call.attrs.dtype)
    if value is None or not tracks(dtype, value.size):
        return None
    if str(facts[0].ty.dtype) == "bool":
        return _each(lambda entry: arithmetic.select(entry, 1, 0), value)
    if dtype == "bool":
        return _each(lambda entry: arithmetic.compare(unequal_to, entry, 0), value)
    return value


def quotient(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Any:
    """divide: integers toward zero; floats only where the quotient is whole for certain."""
    if not str(call.ty.dtype).startswith("float"):
        return elementwise(Arithmetic.trunc_divide)(call, facts, arithmetic)
    return elementwise(lambda _a, x, y: x if isinstance(y, int) and y == 1 else None)(
        call, facts, arithmetic
    )


def _each(function: Callable[[Entry], Entry], value: np.ndarray) -> np.ndarray:
    return np.asarray(np.frompyfunc(function, 1, 1)(value), dtype=object)


def concat(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Any:
    if any(field.value is None for field in facts[0].fields):
        return None
    parts = [field.array for field in facts[0].fields]
    return np.concatenate(parts, axis=int(call.attrs.axis or 0))


def stack(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Any:
    if any(field.value is None for field in facts[0].fields):
        return None
    parts = [field.array for field in facts[0].fields]
    return np.stack(parts, axis=int(call.attrs.axis or 0))


def take(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Any:
    """Constant indices only: an index that is an expression picks an entry nobody can name."""
    source, index = facts[0].value, facts[1].value
    if source is None or index is None or not all(isinstance(i, int) for i in index.flat):
        return None
    axis = None if call.attrs.axis is None else int(call.attrs.axis)
    return np.asarray(np.take(source, index.astype(np.int64), axis=axis, mode="clip"), dtype=object)


def strided_slice(_call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Any:
    if any(fact.value is None for fact in facts):
        return None
    source, numbers = facts[0].array, [fact.array for fact in facts[1:]]
    if not all(map(_constant, numbers)):
        return None
    axes, begins, ends = (list(n) for n in numbers[:3])
    strides = list(numbers[3]) if len(numbers) > 3 else [1] * len(axes)
    window: list[slice] = [slice(None)] * source.ndim
    for axis, begin, end, stride in zip(axes, begins, ends, strides, strict=True):
        # A negative stride that runs past the first entry has no non-negative end in Python.
        stop = None if stride < 0 and end < -source.shape[axis] else end
        window[axis] = slice(begin, stop, stride)
    return source[tuple(window)]


def reduce(function: Callable[[Arithmetic, Entry, Entry], Entry]) -> ValueTransfer:
    """Fold the reduced axes with a binary operation on entries."""

    def transfer(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Any:
        value = facts[0].value
        if value is None or value.size == 0:
            return None
        axis = call.attrs.axis
        axes = tuple(range(value.ndim)) if axis is None else tuple(int(a) for a in axis)
        fold = np.frompyfunc(lambda a, b: function(arithmetic, a, b), 2, 1)
        for position in sorted((a % value.ndim for a in axes), reverse=True):
            reduced = np.asarray(fold.reduce(value, axis=position), dtype=object)
            value = np.expand_dims(reduced, position) if call.attrs.keepdims else reduced
        return value

    return transfer


def filled(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Any:
    """full(shape, fill_value) of a small constant shape."""
    shape, fill = facts[0].value, facts[1].value
    if shape is None or fill is None or not _constant(shape):
        return None
    if not tracks(str(call.attrs.dtype or "int64"), int(np.prod(shape.astype(np.int64)))):
        return None
    return np.full(tuple(shape), fill.flat[0], dtype=object)


def filled_with(constant: int) -> ValueTransfer:
    """zeros and ones."""

    def transfer(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Any:
        fill = Fact(facts[0].ty, np.asarray(constant, dtype=object))
        return filled(call, [facts[0], fill], arithmetic)

    return transfer


def arange(_call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Any:
    numbers = [fact.value.flat[0] for fact in facts if fact.value is not None]
    if len(numbers) != 3 or not all(isinstance(n, int) for n in numbers) or numbers[2] == 0:
        return None
    values = list(range(*numbers))
    return entries(values) if tracks("int64", len(values)) else None


def dims_of(_call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Any:
    """shape_of: the entries are the dims."""
    dims = facts[0].dims
    return None if dims is None else entries(dims)


def element_count(_call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Any:
    """size: the product of the dims."""
    dims = facts[0].dims
    if dims is None:
        return None
    count: Entry = 1
    for dim in entries(dims):
        count = arithmetic.multiply(count, dim)
    return np.asarray(count, dtype=object)


def reshape(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Any:
    return facts[0].array.reshape(constant_dims(call)) if _reshapable(call, facts) else None


def expand_to(_call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Any:
    """broadcast_to a constant shape."""
    source, shape = facts[0].value, facts[1].value
    if source is None or shape is None or not _constant(shape):
        return None
    if not tracks("int64", int(np.prod(shape.astype(np.int64)))):
        return None
    return np.broadcast_to(source, tuple(shape))


def constant_dims(call: tvm.ir.Call) -> tuple[int, ...] | None:
    """The dims of a call's result type when all are constants."""
    shape = getattr(call.ty, "shape", None)
    values = getattr(shape, "values", None)
    if values is None or not all(isinstance(v, tirx.IntImm) for v in values):
        return None
    return tuple(int(v) for v in values)


def _reshapable(call: tvm.ir.Call, facts: list[Fact]) -> bool:
    dims = constant_dims(call)
    value = facts[0].value
    return value is not None and dims is not None and int(np.prod(dims)) == value.size


def _constant(value: np.ndarray) -> bool:
    return all(isinstance(entry, int) for entry in value.flat)
