"""Concatenation, stacking, and what keeps the number of elements."""

from __future__ import annotations

import tvm

from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import Fact
from tvm_sod2.op_classes.row import Agreement
from tvm_sod2.op_classes.shapes.common import (
    Place,
    dims_of,
    must_be,
    place,
    product,
    representative,
)
from tvm_sod2.op_classes.symbolic import Arithmetic


def concat(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> list[Entry] | None:
    """Sum along the axis; the other dims agree, and an int is the best name for them."""
    columns = _columns(facts)
    if columns is None:
        return None
    axis = int(call.attrs.axis or 0) % len(columns)
    result: list[Entry] = [representative(column) for column in columns]
    result[axis] = 0
    for dim in columns[axis]:
        result[axis] = arithmetic.add(result[axis], dim)
    return result


def concat_agreements(
    call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """All dims but the concatenated one are equal. `argument` counts the tuple's fields."""
    columns = _columns(facts)
    if columns is None:
        return []
    axis = int(call.attrs.axis or 0) % len(columns)
    return _columns_agree([None if i == axis else c for i, c in enumerate(columns)], arithmetic)


def stack(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> list[Entry] | None:
    """A new axis as long as there are tensors; their dims agree."""
    columns = _columns(facts)
    if columns is None:
        return None
    dims = [representative(column) for column in columns]
    axis = int(call.attrs.axis or 0) % (len(dims) + 1)
    return [*dims[:axis], len(facts[0].fields), *dims[axis:]]


def stack_agreements(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """All dims are equal. `argument` counts the tuple's fields."""
    columns = _columns(facts)
    return [] if columns is None else _columns_agree([*columns], arithmetic)


def _columns(facts: list[Fact]) -> list[list[Entry]] | None:
    """Per axis, the dims of all fields of the tuple."""
    shapes = [dims_of(field) for field in facts[0].fields]
    known = [shape for shape in shapes if shape is not None]
    if not known or len(known) != len(shapes) or len({len(shape) for shape in known}) > 1:
        return None
    return [list(column) for column in zip(*known, strict=True)]


def _columns_agree(columns: list[list[Entry] | None], arithmetic: Arithmetic) -> list[Agreement]:
    return [
        agreement
        for axis, column in enumerate(columns)
        for field, dim in enumerate(column or ())
        for agreement in must_be(arithmetic, Place(field, axis, dim), representative(column or []))
    ]


def reshape_agreements(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """A reshape keeps the number of elements; argument 1 stands for the whole new shape."""
    before, after = dims_of(facts[0]), dims_of(facts[1])
    if before is None or after is None:
        return []
    counts = [product(arithmetic, dims) for dims in (before, after)]
    if arithmetic.equal(counts[0], counts[1]):
        return []
    return [Agreement(1, -1, counts[1], counts[0])]


def squeeze(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> list[Entry] | None:
    """Without axes every dim of 1 goes: known where each dim is proven to be 1 or not to be."""
    dims = dims_of(facts[0])
    if dims is None or call.attrs.axis is not None:
        return None
    if not all(arithmetic.equal(d, 1) or arithmetic.differ(d, 1) for d in dims):
        return None
    return [d for d in dims if not arithmetic.equal(d, 1)]


def squeeze_agreements(
    call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """The squeezed dims are 1."""
    found: list[Agreement] = []
    for axis in call.attrs.axis or ():
        found += must_be(arithmetic, place(facts, 0, int(axis)), 1)
    return found
