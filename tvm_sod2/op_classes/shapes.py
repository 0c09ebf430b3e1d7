"""Forward transfer of dims where Relax's own inference gives up, and dims that must agree."""

from __future__ import annotations

import tvm
from tvm import relax

from tvm_sod2.op_classes.fact import Fact, entries
from tvm_sod2.op_classes.row import Agreement
from tvm_sod2.op_classes.symbolic import Arithmetic, Entry, as_expr


def tensor_type(dims: list[Entry], like: relax.TensorType) -> relax.TensorType:
    """A tensor type with these dims and the dtype of `like`."""
    return relax.TensorType([as_expr(d) for d in dims], like.dtype)


def broadcast(_call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> list[Entry] | None:
    """NumPy broadcasting; against an int above 1 an unknown dim can only yield that int.

    Two dims that nothing tells apart from each other or from 1 must be equal, see
    `broadcast_agreements`.
    """
    columns = _broadcast_columns(facts, arithmetic)
    if columns is None:
        return None
    return [_representative([dim for _, _, dim in column]) if column else 1 for column in columns]


def broadcast_agreements(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """Dims other than 1 in one column are equal."""
    found = []
    for column in _broadcast_columns(facts, arithmetic) or ():
        wide = [dim for _, _, dim in column]
        for argument, axis, dim in column:
            if not arithmetic.equal(dim, _representative(wide)):
                found.append(Agreement(argument, axis, dim, _representative(wide)))
    return found


def _broadcast_columns(
    facts: list[Fact], arithmetic: Arithmetic
) -> list[list[tuple[int, int, Entry]]] | None:
    """Per axis of the result, the (argument, axis, dim) of those that are not 1."""
    shapes = [entries(fact.dims) for fact in facts if fact.dims is not None]
    if len(shapes) != len(facts):
        return None
    rank = max(len(shape) for shape in shapes)
    columns: list[list[tuple[int, int, Entry]]] = [[] for _ in range(rank)]
    for argument, shape in enumerate(shapes):
        for axis, dim in enumerate(shape):
            if not arithmetic.equal(dim, 1):
                columns[rank - len(shape) + axis].append((argument, axis, dim))
    return columns


def concat(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> list[Entry] | None:
    """Sum along the axis; the other dims agree, and an int is the best name for them."""
    shapes = [field.dims for field in facts[0].fields]
    if any(shape is None for shape in shapes):
        return None
    columns = list(zip(*[entries(s) for s in shapes if s is not None], strict=True))
    axis = int(call.attrs.axis or 0) % len(columns)
    result: list[Entry] = []
    for position, column in enumerate(columns):
        if position != axis:
            result.append(_representative(list(column)))
            continue
        total: Entry = 0
        for dim in column:
            total = arithmetic.add(total, dim)
        result.append(total)
    return result


def concat_agreements(
    call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """All dims but the concatenated one are equal. `argument` counts the tuple's fields."""
    shapes = [field.dims for field in facts[0].fields]
    if any(shape is None for shape in shapes):
        return []
    columns = list(zip(*[entries(s) for s in shapes if s is not None], strict=True))
    axis = int(call.attrs.axis or 0) % len(columns)
    return [
        Agreement(field, position, dim, _representative(list(column)))
        for position, column in enumerate(columns)
        if position != axis
        for field, dim in enumerate(column)
        if not arithmetic.equal(dim, _representative(list(column)))
    ]


def nonzero(_call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> list[Entry] | None:
    """One row per axis of the input; how many columns, only the run knows."""
    rank = facts[0].ty.ndim
    return None if rank < 0 else [rank, None]


def reshape_agreements(
    call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """A reshape keeps the number of elements; argument 1 stands for the whole new shape."""
    before, after = facts[0].dims, facts[1].dims
    if before is None or after is None:
        return []
    counts: list[Entry] = []
    for dims in (before, after):
        count: Entry = 1
        for dim in entries(dims):
            count = arithmetic.multiply(count, dim)
        counts.append(count)
    if arithmetic.equal(counts[0], counts[1]):
        return []
    return [Agreement(1, -1, counts[1], counts[0])]


def matmul_agreements(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """The shared K: the last dim of the left operand, the last but one of the right."""
    left, right = facts[0].dims, facts[1].dims
    if not left or not right:
        return []
    axis = max(len(right) - 2, 0)
    k_left, k_right = entries(left)[-1], entries(right)[axis]
    return [] if arithmetic.equal(k_left, k_right) else [Agreement(1, axis, k_right, k_left)]


def _representative(column: list[Entry]) -> Entry:
    """One dim to stand for equal ones: an int when there is one."""
    return next((d for d in column if isinstance(d, int)), column[0])
