"""Results whose shape, or a part of it, an argument gives."""

from __future__ import annotations

import tvm
from tvm import relax

from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import Fact
from tvm_sod2.op_classes.row import DimsTransfer
from tvm_sod2.op_classes.shapes.common import dims_of, letter
from tvm_sod2.op_classes.symbolic import Arithmetic


def shape_from(argument: int) -> DimsTransfer:
    """The argument is the shape: its tracked entries are the dims, as far as they are known."""

    def transfer(
        _call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic
    ) -> list[Entry] | None:
        return _entries_of(facts[argument])

    return transfer


def same_as(argument: int) -> DimsTransfer:
    """The result has the shape of an argument."""

    def transfer(
        _call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic
    ) -> list[Entry] | None:
        return dims_of(facts[argument])

    return transfer


def resized(spatial: str) -> DimsTransfer:
    """resize: the dims of the data, those named by `spatial` in its layout from argument 1."""

    def transfer(
        call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic
    ) -> list[Entry] | None:
        dims, size = dims_of(facts[0]), _entries_of(facts[1])
        axes = [letter(call.attrs.layout, name) for name in spatial]
        if dims is None or size is None or len(size) != len(spatial):
            return None
        for axis, wanted in zip(axes, size, strict=True):
            if axis is None:
                return None
            dims[axis] = wanted
        return dims

    return transfer


def affine_grid(
    _call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic
) -> list[Entry] | None:
    """(batch, 2, height, width) of a (batch, 2, 3) matrix."""
    dims, size = dims_of(facts[0]), _entries_of(facts[1])
    return None if dims is None or size is None else [dims[0], 2, *size]


def _entries_of(fact: Fact) -> list[Entry] | None:
    if fact.value is not None:
        return list(fact.value.flat)
    if isinstance(fact.ty, relax.ShapeType) and fact.ty.ndim >= 0:
        return [None] * int(fact.ty.ndim)
    return None
