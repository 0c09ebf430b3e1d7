"""Reductions, running sums, and orders of constants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tvm

from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import Fact
from tvm_sod2.op_classes.row import Values, ValueTransfer
from tvm_sod2.op_classes.symbolic import Arithmetic
from tvm_sod2.op_classes.values.common import constants, each, stored

Operation = Callable[[Arithmetic, Entry, Entry], Entry]


def reduce(operation: Operation, start: int | None = None) -> ValueTransfer:
    """Fold the reduced axes; `start` is the result over no entries, None where there is none."""

    def transfer(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
        value = facts[0].value
        if value is None:
            return None
        axes = _axes(call, value.ndim)
        empty = any(value.shape[axis] == 0 for axis in axes)
        if empty and start is None:
            return None
        dtype = str(call.ty.dtype)
        fold = np.frompyfunc(
            lambda a, b: stored(arithmetic, operation(arithmetic, a, b), dtype), 2, 1
        )
        for axis in sorted(axes, reverse=True):
            if value.shape[axis] == 0:
                reduced = np.full(np.delete(value.shape, axis), start, dtype=object)
            else:
                reduced = np.asarray(fold.reduce(value, axis=axis), dtype=object)
            value = np.expand_dims(reduced, axis) if call.attrs.keepdims else reduced
        return value

    return transfer


def mean(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
    """The sum over the count; of floats, as an integer tensor has no mean."""
    value = facts[0].value
    if value is None or value.size == 0 or not str(call.ty.dtype).startswith("float"):
        return None
    total = reduce(Arithmetic.add, 0)(call, facts, arithmetic)
    count = int(np.prod([value.shape[axis] for axis in _axes(call, value.ndim)], dtype=np.int64))
    assert isinstance(total, np.ndarray)
    return each(total, lambda entry: arithmetic.divide(entry, count))


def scan(operation: Operation, start: int) -> ValueTransfer:
    """Running sum or product; without an axis the tensor is flattened first."""

    def transfer(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
        value = facts[0].value
        if value is None:
            return None
        axis = 0 if call.attrs.axis is None else int(call.attrs.axis)
        value = value.reshape(-1) if call.attrs.axis is None else value
        if value.size == 0:
            return value
        dtype = str(call.ty.dtype)
        step = np.frompyfunc(
            lambda a, b: stored(arithmetic, operation(arithmetic, a, b), dtype), 2, 1
        )
        result = np.asarray(step.accumulate(value, axis=axis), dtype=object)
        if not call.attrs.exclusive:
            return result
        first = np.full_like(np.take(result, [0], axis=axis), start)
        rest = np.delete(result, -1, axis=axis)
        return np.concatenate([first, rest], axis=axis)

    return transfer


def extreme_place(place: Callable[..., np.ndarray]) -> ValueTransfer:
    """argmax and argmin of constants; NumPy takes the first of equals, and so do the kernels."""

    def transfer(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
        value, axis = constants(facts[0]), call.attrs.axis
        if value is None or value.size == 0:
            return None
        found = place(value, axis=None if axis is None else int(axis), keepdims=call.attrs.keepdims)
        return np.asarray(found, dtype=object)

    return transfer


def sort(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    value, order = constants(facts[0]), _order(call, facts)
    if value is None or order is None:
        return None
    return np.take_along_axis(value, order, axis=int(call.attrs.axis)).astype(object)


def argsort(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """Positions in order; among equal entries their order is not stated, so it is not tracked."""
    order = _order(call, facts)
    value, axis = constants(facts[0]), int(call.attrs.axis)
    if order is None or value is None or _has_equals(value, axis):
        return None
    return order.astype(object)


def topk(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """The k first in order, and where they stand; as a tuple when both are asked for."""
    value, axis, k = constants(facts[0]), int(call.attrs.axis), int(call.attrs.k)
    if value is None or value.ndim == 0:
        return None
    order = np.argsort(-value if call.attrs.largest else value, axis=axis, kind="stable")
    if k >= 1:
        order = np.take(order, range(min(k, value.shape[axis])), axis=axis)
    values = np.take_along_axis(value, order, axis=axis).astype(object)
    places = None if _has_equals(value, axis) else order.astype(object)
    return {"values": values, "indices": places}.get(call.attrs.ret_type, (values, places))


def _order(call: tvm.ir.Call, facts: list[Fact]) -> np.ndarray | None:
    value = constants(facts[0])
    if value is None or value.ndim == 0:
        return None
    signed = -value if call.attrs.descending else value
    return np.argsort(signed, axis=int(call.attrs.axis), kind="stable")


def _has_equals(value: np.ndarray, axis: int) -> bool:
    ordered = np.sort(value, axis=axis)
    return bool((np.diff(ordered, axis=axis) == 0).any())


def _axes(call: tvm.ir.Call, rank: int) -> list[int]:
    axis = call.attrs.axis
    return list(range(rank)) if axis is None else [int(a) % rank for a in axis]
