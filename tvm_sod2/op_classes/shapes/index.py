"""Gathering, scattering and slicing by tensors."""

from __future__ import annotations

import operator

import tvm

from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import Fact
from tvm_sod2.op_classes.row import Agreement
from tvm_sod2.op_classes.shapes.broadcast import broadcast_dims
from tvm_sod2.op_classes.shapes.common import dims_of, must_be, must_equal, place
from tvm_sod2.op_classes.symbolic import Arithmetic


def index_tensor(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Entry] | None:
    """The shape that the indices broadcast to, and the data's axes that no index runs over."""
    data = dims_of(facts[0])
    indices = [dims_of(field) for field in facts[1].fields]
    known = [dims for dims in indices if dims is not None]
    if data is None or not known or len(known) != len(indices) or len(known) > len(data):
        return None
    return [*broadcast_dims(known, arithmetic), *data[len(known) :]]


def gather_nd_agreements(
    call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """The batch dims are those of the data."""
    found: list[Agreement] = []
    for axis in range(int(call.attrs.batch_dims)):
        found += must_equal(arithmetic, place(facts, 1, axis), place(facts, 0, axis))
    return found


def scatter_elements_agreements(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """One update for each index."""
    found: list[Agreement] = []
    for axis in range(len(dims_of(facts[1]) or ())):
        found += must_equal(arithmetic, place(facts, 2, axis), place(facts, 1, axis))
    return found


def scatter_nd_agreements(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """An update is a slice of the data, one for each index."""
    data, indices = dims_of(facts[0]), dims_of(facts[1])
    if data is None or not indices or not isinstance(indices[-1], int):
        return []
    found: list[Agreement] = []
    for axis, wanted in enumerate([*indices[:-1], *data[indices[-1] :]]):
        found += must_be(arithmetic, place(facts, 2, axis), wanted)
    return found


def slice_scatter_agreements(
    call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """What is written has the dims of what it is written over, but along the axis."""
    rank = len(dims_of(facts[0]) or ())
    found: list[Agreement] = []
    for axis in range(rank):
        if axis != int(call.attrs.axis) % rank:
            found += must_equal(arithmetic, place(facts, 1, axis), place(facts, 0, axis))
    return found


def reverse_sequence_agreements(
    call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """One length for each element of the batch."""
    data = place(facts, 0, int(call.attrs.batch_axis))
    return must_equal(arithmetic, data, place(facts, 1, 0))


def dynamic_strided_slice(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Entry] | None:
    """Begins, ends and strides are tensors of one entry per axis; NumPy's clamping."""
    data = dims_of(facts[0])
    if data is None:
        return None
    columns = [[None] * len(data) if f.value is None else list(f.value.flat) for f in facts[1:4]]
    if any(len(column) != len(data) for column in columns):
        return None
    return [slice_length(arithmetic, *axis) for axis in zip(data, *columns, strict=True)]


def slice_length(
    arithmetic: Arithmetic, size: Entry, begin: Entry, end: Entry, stride: Entry
) -> Entry:
    """How many entries NumPy's slice begin:end:stride takes of an axis; the stride is constant."""
    if not isinstance(stride, int) or stride == 0:
        return None
    low, high = (0, size) if stride > 0 else (-1, arithmetic.subtract(size, 1))
    first = _clamped(arithmetic, begin, size, low, high)
    last = _clamped(arithmetic, end, size, low, high)
    a, b = (first, last) if stride > 0 else (last, first)
    span = arithmetic.maximum(arithmetic.subtract(b, a), 0)
    return arithmetic.floor_divide(arithmetic.add(span, abs(stride) - 1), abs(stride))


def _clamped(arithmetic: Arithmetic, index: Entry, size: Entry, low: Entry, high: Entry) -> Entry:
    """An index counted from the front, within [low, high]."""
    negative = arithmetic.compare(operator.lt, index, 0)
    index = arithmetic.select(negative, arithmetic.add(index, size), index)
    return arithmetic.minimum(arithmetic.maximum(index, low), high)
