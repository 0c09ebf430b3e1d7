"""Results whose size depends on the data: what is known of them all the same."""

from __future__ import annotations

import tvm

from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import Fact, entries
from tvm_sod2.op_classes.row import Agreement
from tvm_sod2.op_classes.shapes.common import dims_of, must_be, must_equal, place
from tvm_sod2.op_classes.symbolic import Arithmetic
from tvm_sod2.op_classes.values.common import constants


def nonzero(_call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> list[Entry] | None:
    """One row per axis of the input; how many columns, only the run knows, or a constant tells."""
    value = constants(facts[0])
    if value is not None:
        return [value.ndim, int((value != 0).sum())]
    rank = facts[0].ty.ndim
    count = 0 if 0 in entries(facts[0].dims or []) else None
    return None if rank < 0 else [rank, count]


def unique(
    call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Entry] | tuple[list[Entry] | None, ...] | None:
    """Along an axis the other dims stay; the inverse has one entry per element or slice.

    The results after the values are positions, inverse and counts, those that are asked for.
    """
    dims = dims_of(facts[0])
    axis = _flag(facts, 5)
    if dims is None:
        return None
    whole: Entry = 1
    for dim in dims:
        whole = arithmetic.multiply(whole, dim)
    if axis is not None:
        whole = dims[axis]
    found = 0 if 0 in entries([whole]) else None
    values: list[Entry] = [found]
    if axis is not None:
        values = [found if i == axis % len(dims) else dim for i, dim in enumerate(dims)]
    if not isinstance(call.ty, tvm.relax.TupleType):
        return values
    results = [values]
    for argument, entry in ((2, found), (3, whole), (4, found)):
        if _flag(facts, argument):
            results.append([entry])
    return tuple(results) if len(results) == len(call.ty.fields) else None


def _flag(facts: list[Fact], argument: int) -> int | None:
    """A constant scalar operand, None where it is absent."""
    value = constants(facts[argument]) if argument < len(facts) else None
    return None if value is None or value.size != 1 else int(value.flat[0])


def quantize_agreements(
    call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """Scale and zero point per channel are as long as the data's axis."""
    data = place(facts, 0, int(call.attrs.axis))
    found: list[Agreement] = []
    for vector in (1, 2):
        if len(dims_of(facts[vector]) or ()) == 1:
            found += must_equal(arithmetic, data, place(facts, vector, 0))
    return found


def nll_loss_agreements(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """Predictions (batch, classes, ...) against targets (batch, ...) and weights (classes,)."""
    rank = len(dims_of(facts[0]) or ())
    pairs = [((0, 0), (1, 0)), *(((0, axis), (1, axis - 1)) for axis in range(2, rank))]
    if rank < 2:
        return must_equal(arithmetic, place(facts, 0, 0), place(facts, 2, 0))
    found: list[Agreement] = []
    for a, b in [*pairs, ((0, 1), (2, 0))]:
        found += must_equal(arithmetic, place(facts, *a), place(facts, *b))
    return found


def multibox_agreements(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """Classes (batch, classes, n), offsets (batch, 4 n), anchors (1, n, 4)."""
    anchors = place(facts, 2, 1)
    found = must_equal(arithmetic, place(facts, 0, 0), place(facts, 1, 0))
    found += must_equal(arithmetic, place(facts, 0, 2), anchors)
    if anchors is not None:
        offsets = arithmetic.multiply(anchors.dim, 4)
        found += must_be(arithmetic, place(facts, 1, 1), offsets)
    return found
