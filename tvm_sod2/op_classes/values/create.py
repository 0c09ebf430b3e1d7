"""Tensors made from shapes and numbers, and numbers made from shapes."""

from __future__ import annotations

import numpy as np
import tvm

from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import Fact, entries
from tvm_sod2.op_classes.row import Values, ValueTransfer
from tvm_sod2.op_classes.symbolic import Arithmetic
from tvm_sod2.op_classes.values.common import constants, number, small_dims, stored


def filled(argument: int) -> ValueTransfer:
    """full and full_like: the fill value is a tensor of rank 0, the argument of this number."""

    def transfer(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
        fill = number(call.args[argument], facts[argument])
        return _full(call, fill, arithmetic)

    return transfer


def filled_with(constant: int) -> ValueTransfer:
    """zeros and ones, and their likes."""

    def transfer(call: tvm.ir.Call, _facts: list[Fact], arithmetic: Arithmetic) -> Values:
        return _full(call, constant, arithmetic)

    return transfer


def _full(call: tvm.ir.Call, fill: Entry, arithmetic: Arithmetic) -> Values:
    dims = small_dims(call.ty)
    fill = stored(arithmetic, fill, str(call.ty.dtype))
    return None if dims is None or fill is None else np.full(dims, fill, dtype=object)


def arange(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
    """start + i * step for as many i as the result's type says; only a positive step is right.

    Relax rounds the length of a falling range toward the wrong side.
    """
    dims = small_dims(call.ty)
    start, _, step = (number(call.args[i], facts[i]) for i in range(3))
    if dims is None or start is None or not isinstance(step, int) or step <= 0:
        return None
    return entries([arithmetic.add(start, i * step) for i in range(dims[0])])


def eye(argument: int) -> ValueTransfer:
    """eye and eye_like: ones on the k-th diagonal; k is the argument of this number."""

    def transfer(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
        dims, k = small_dims(call.ty), number(call.args[argument], facts[argument])
        if dims is None or not isinstance(k, int):
            return None
        return np.eye(dims[0], dims[1], k=k, dtype=np.int64).astype(object)

    return transfer


def dims_of(_call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """shape_of: the entries are the dims."""
    dims = facts[0].dims
    return None if dims is None else entries(dims)


def element_count(_call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
    """size: the product of the dims."""
    dims = facts[0].dims
    if dims is None:
        return None
    count: Entry = 1
    for dim in entries(dims):
        count = arithmetic.multiply(count, dim)
    return np.asarray(count, dtype=object)


def nonzero(_call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """The positions of the nonzero entries, one row per axis, when every entry is a constant."""
    value = constants(facts[0])
    if value is None or value.ndim == 0:
        return None
    return np.stack(np.nonzero(value)).astype(object)
