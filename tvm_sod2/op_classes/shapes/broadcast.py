"""NumPy's broadcasting, and operators whose operands have one shape."""

from __future__ import annotations

from functools import reduce

import tvm
import tvm_ffi
from tvm import tirx

from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import Fact
from tvm_sod2.op_classes.row import Agreement
from tvm_sod2.op_classes.shapes.common import Place, dims_of, must_be, place, representative
from tvm_sod2.op_classes.symbolic import Arithmetic


def broadcast(_call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> list[Entry] | None:
    """NumPy broadcasting, see `either`."""
    shapes = [dims_of(fact) for fact in facts]
    if any(shape is None for shape in shapes):
        return None
    return broadcast_dims([shape for shape in shapes if shape is not None], arithmetic)


def broadcast_dims(shapes: list[list[Entry]], arithmetic: Arithmetic) -> list[Entry]:
    """The shape that these broadcast to."""
    columns = _columns(list(enumerate(shapes)), arithmetic)
    return [_result([p.dim for p in column], arithmetic) if column else 1 for column in columns]


def either(arithmetic: Arithmetic, a: Entry, b: Entry) -> Entry:
    """The dim that two dims broadcast to, given that they can: the one that is not 1.

    Where nothing tells which one that is, it is `b if a == 1 else a`. So (0,) with (1,) is (0,).
    """
    pairs = ((a, b), (b, a))
    if arithmetic.same(a, b):
        return representative([a, b])
    for one, other in pairs:
        if arithmetic.equal(one, 1):
            return other
    for one, other in pairs:
        if arithmetic.differ(one, 1) or _absorbs(arithmetic, one, other):
            return one
    if a is None or b is None:
        return None
    if arithmetic.takes_equal(a, b):
        return a
    return arithmetic.select(tirx.EQ(a, tirx.const(1, "int64")), b, a)


def _absorbs(arithmetic: Arithmetic, whole: Entry, part: Entry) -> bool:
    """Whether `whole` is already what `part` and other dims broadcast to."""
    parts = parts_of(whole)
    within = (any(arithmetic.equal(p, q) for q in parts) for p in parts_of(part))
    return len(parts) > 1 and all(within)


def parts_of(dim: Entry) -> list[Entry]:
    """The dims that `either` made a dim of."""
    if isinstance(dim, tirx.Select) and isinstance(dim.condition, tirx.EQ):
        one = isinstance(dim.condition.b, tirx.IntImm) and int(dim.condition.b) == 1
        if one and tvm_ffi.structural_equal(dim.condition.a, dim.false_value):
            return [*parts_of(dim.false_value), *parts_of(dim.true_value)]
    return [dim]


def broadcast_agreements(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """Dims of one column are equal, or 1."""
    shapes = [dims_of(fact) for fact in facts]
    if any(shape is None for shape in shapes):
        return []
    numbered = [(i, shape) for i, shape in enumerate(shapes) if shape is not None]
    return column_agreements(numbered, arithmetic)


def column_agreements(
    shapes: list[tuple[int, list[Entry]]], arithmetic: Arithmetic
) -> list[Agreement]:
    """Agreements of (argument, dims) aligned at the end: each with what the others broadcast to."""
    found: list[Agreement] = []
    for column in _columns(shapes, arithmetic):
        for number, at in enumerate(column[1:], start=1):
            rest = _result([p.dim for p in column[:number]], arithmetic)
            if not arithmetic.same(at.dim, rest):
                found.append(Agreement(*at, rest, unless=(at.dim, rest)))
    return [a for a in found if a.dim is not None and a.expected is not None]


def _result(column: list[Entry], arithmetic: Arithmetic) -> Entry:
    return reduce(lambda a, b: either(arithmetic, a, b), column)


def _columns(shapes: list[tuple[int, list[Entry]]], arithmetic: Arithmetic) -> list[list[Place]]:
    """Per axis of the result, the dims that are not 1, the best names for it first."""
    rank = max(len(shape) for _, shape in shapes)
    columns: list[list[Place]] = [[] for _ in range(rank)]
    for argument, shape in shapes:
        for axis, dim in enumerate(shape):
            if not arithmetic.equal(dim, 1):
                columns[rank - len(shape) + axis].append(Place(argument, axis, dim))
    for column in columns:
        if not all(arithmetic.equal(at.dim, column[0].dim) for at in column[1:]):
            column.sort(key=lambda at: _rank(at.dim, arithmetic))
    return columns


def _rank(dim: Entry, arithmetic: Arithmetic) -> int:
    """A number is the best name, then what cannot be 1."""
    if isinstance(dim, int):
        return 0
    return 1 if arithmetic.differ(dim, 1) else 2


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
    """broadcast_to: dims of the source are 1 or those of the new shape."""
    source, target = dims_of(facts[0]), facts[1].value
    if source is None or target is None or len(source) > target.size:
        return []
    found: list[Agreement] = []
    offset = target.size - len(source)
    for axis, dim in enumerate(source):
        expected = target.flat[offset + axis]
        if not arithmetic.equal(dim, 1):
            found += must_be(arithmetic, place(facts, 0, axis), expected)
    return [a._replace(unless=(a.dim,)) for a in found]
