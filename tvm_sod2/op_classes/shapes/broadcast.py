"""NumPy's broadcasting, and operators whose operands have one shape."""

from __future__ import annotations

import tvm

from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import Fact
from tvm_sod2.op_classes.row import Agreement
from tvm_sod2.op_classes.shapes.common import Place, dims_of, must_be, place, representative
from tvm_sod2.op_classes.symbolic import Arithmetic


def broadcast(_call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> list[Entry] | None:
    """NumPy broadcasting; against an int above 1 an unknown dim can only yield that int.

    Two dims that nothing tells apart from each other or from 1 must be equal, see
    `broadcast_agreements`.
    """
    shapes = [dims_of(fact) for fact in facts]
    if any(shape is None for shape in shapes):
        return None
    return broadcast_dims([shape for shape in shapes if shape is not None], arithmetic)


def broadcast_dims(shapes: list[list[Entry]], arithmetic: Arithmetic) -> list[Entry]:
    """The shape that these broadcast to."""
    columns = _columns(list(enumerate(shapes)), arithmetic)
    return [representative([p.dim for p in column]) if column else 1 for column in columns]


def broadcast_agreements(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """Dims other than 1 in one column are equal."""
    shapes = [dims_of(fact) for fact in facts]
    if any(shape is None for shape in shapes):
        return []
    numbered = [(i, shape) for i, shape in enumerate(shapes) if shape is not None]
    return column_agreements(numbered, arithmetic)


def column_agreements(
    shapes: list[tuple[int, list[Entry]]], arithmetic: Arithmetic
) -> list[Agreement]:
    """Agreements of (argument, dims) aligned at the end."""
    found: list[Agreement] = []
    for column in _columns(shapes, arithmetic):
        for at in column:
            found += must_be(arithmetic, at, representative([p.dim for p in column]))
    return found


def _columns(shapes: list[tuple[int, list[Entry]]], arithmetic: Arithmetic) -> list[list[Place]]:
    """Per axis of the result, the dims that are not 1."""
    rank = max(len(shape) for _, shape in shapes)
    columns: list[list[Place]] = [[] for _ in range(rank)]
    for argument, shape in shapes:
        for axis, dim in enumerate(shape):
            if not arithmetic.equal(dim, 1):
                columns[rank - len(shape) + axis].append(Place(argument, axis, dim))
    return columns


def one_shape(_call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> list[Entry] | None:
    """ewise_fma: all operands have the shape of the result; an int is the best name for a dim."""
    shapes = [shape for shape in map(dims_of, facts) if shape is not None]
    if not shapes or len({len(shape) for shape in shapes}) > 1:
        return None
    return [representative(list(column)) for column in zip(*shapes, strict=True)]


def one_shape_agreements(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    shapes = [shape for shape in map(dims_of, facts) if shape is not None]
    if len(shapes) != len(facts) or len({len(shape) for shape in shapes}) > 1:
        return []
    found: list[Agreement] = []
    for axis, column in enumerate(zip(*shapes, strict=True)):
        for argument, dim in enumerate(column):
            at = Place(argument, axis, dim)
            found += must_be(arithmetic, at, representative(list(column)))
    return found


def stretched_agreements(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """broadcast_to: dims of the source other than 1 are those of the new shape."""
    source, target = dims_of(facts[0]), facts[1].value
    if source is None or target is None or len(source) > target.size:
        return []
    found: list[Agreement] = []
    offset = target.size - len(source)
    for axis, dim in enumerate(source):
        if not arithmetic.equal(dim, 1):
            found += must_be(arithmetic, place(facts, 0, axis), target.flat[offset + axis])
    return found
