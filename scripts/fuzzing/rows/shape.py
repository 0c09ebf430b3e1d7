"""Shape arithmetic, and what it decides."""

from __future__ import annotations

import numpy as np

from ..drawing import RejectedError
from ..growth import Growth
from ..values import Value
from .row import ANY, Row


def _length(g: Growth, value: Value, axis: int) -> Value:
    """The size of an axis as a vector of one entry, by one of the usual ways."""
    way = g.integer(0, 3)
    if way == 0:
        return g.op("Shape", value, start=axis, **({} if axis == -1 else {"end": axis + 1}))
    shape = g.op("Shape", value)
    if way == 1:
        return g.op("Gather", shape, g.const([axis], "int64"))
    if way == 2:
        return g.op("Unsqueeze", g.op("Gather", shape, g.const(axis, "int64")), g.const([0]))
    ends = [axis], [axis + 1 if axis != -1 else 2**31 - 1]
    return g.op("Slice", shape, *(g.const(end, "int64") for end in ends), g.const([0], "int64"))


def _vector(g: Growth) -> Value:
    """A vector of one entry made of shapes: a length, or a length computed with."""
    value = g.pick(ANY, range(1, 6))
    length = _length(g, value, g.integer(-value.rank, value.rank - 1))
    way = g.integer(0, 6)
    number = g.const([g.integer(1, 3)], "int64")
    if way < 4:
        return length
    operator = {4: "Add", 5: "Mul", 6: "Div"}[way]
    return g.op(operator, length, number)


def _reshape(g: Growth) -> None:
    """Axes kept, merged, or split by a factor known to divide them."""
    value = g.pick(ANY, range(1, 6))
    parts: list[Value] = []
    inferred = False
    axis = 0
    while axis < value.rank:
        size = value.fixed(axis)
        way = g.integer(0, 4)
        if way == 0 and not inferred and axis + 1 < value.rank:
            parts.append(g.const([-1], "int64"))
            inferred = True
            axis += g.integer(1, value.rank - axis)
        elif way == 1 and axis + 1 < value.rank:
            both = [_length(g, value, a) for a in (axis, axis + 1)]
            parts.append(g.op("Mul", *both))
            axis += 2
        elif way == 2 and size and size % 2 == 0:
            parts += [g.const([size // 2], "int64"), g.const([2], "int64")]
            axis += 1
        elif way == 3 and len(parts) == axis:
            parts.append(g.const([0], "int64"))
            axis += 1
        else:
            parts.append(_length(g, value, axis))
            axis += 1
    if g.flip(0.15):
        parts.append(g.const([1], "int64"))
    wanted = g.op("Concat", *parts, axis=0)
    reshaped = g.op("Reshape", value, wanted)
    if g.flip(0.3):
        g.op("Reshape", g.op("Relu", reshaped) if value.dtype == "float32" else reshaped,
             g.op("Shape", value))  # fmt: skip


def _flat(g: Growth) -> None:
    g.op("Reshape", g.pick(ANY), g.const([-1], "int64"))


def _shape(g: Growth) -> None:
    value = g.pick(ANY, range(0, 6))
    attributes = {}
    if g.flip(0.3) and value.rank:
        attributes = {"start": g.integer(-value.rank, value.rank - 1)}
    g.op("Shape", value, **attributes)


def _size(g: Growth) -> None:
    g.op("Size", g.pick(ANY))


def _constant_of_shape(g: Growth) -> None:
    wanted = [_vector(g) for _ in range(g.integer(1, 3))]
    shape = wanted[0] if len(wanted) == 1 else g.op("Concat", *wanted, axis=0)
    from onnx import numpy_helper

    dtype = g.one_of(["float32", "int64", "bool"])
    fill = numpy_helper.from_array(g.draw(dtype, [1]))
    g.op("ConstantOfShape", shape, **({} if g.flip(0.2) else {"value": fill}))


def _range(g: Growth) -> None:
    limit = g.op("Squeeze", _vector(g), g.const([0], "int64"))
    start, step = g.const(g.integer(-1, 2), "int64"), g.const(g.one_of([1, 1, 2, 3]), "int64")
    if g.flip(0.2):
        start, limit, step = limit, start, g.const(-1, "int64")
    g.op("Range", start, limit, step)


def _range_given(g: Growth) -> None:
    """A range whose ends are inputs."""
    dtype = g.one_of(["int64", "int32", "float32"])
    ends = [g.given([np.array(g.integer(*r), dtype) for _ in g.sizes], [])
            for r in ((-3, 3), (2, 9), (1, 3))]  # fmt: skip
    g.op("Range", *ends)


def _eye(g: Growth) -> None:
    value = g.pick(("float32", "int64"), (2,))
    g.op("EyeLike", value, k=g.integer(-2, 2))


def _expand(g: Growth) -> None:
    """A vector stretched over an axis of another value."""
    value = g.pick(("float32", "int64", "bool"), (1, 2))
    length = _vector(g)
    rank = value.rank
    whole = g.op("Concat", length, g.op("Shape", value), axis=0)
    if rank > 2:
        raise RejectedError
    g.op("Expand", g.op("Unsqueeze", value, g.const([0], "int64")), whole)


def _positions(g: Growth) -> None:
    """Position numbers, as masks and embeddings use them."""
    value = g.pick(("float32",), range(1, 5))
    axis = g.integer(-value.rank, -1)
    length = g.op("Squeeze", _length(g, value, axis), g.const([0], "int64"))
    positions = g.op("Range", g.const(0, "int64"), length, g.const(1, "int64"))
    if g.flip() and axis == -1:
        g.op("Add", value, g.op("Cast", positions, to=1))
        return
    row, column = (g.op("Unsqueeze", positions, g.const([a], "int64")) for a in (0, 1))
    g.op(g.one_of(["LessOrEqual", "Less", "Equal"]), row, column)


def _prefix(g: Growth) -> None:
    """The first entries of a value, as many as a shape says."""
    value = g.pick(("float32", "int64"), range(1, 5))
    axis = g.integer(-value.rank, value.rank - 1)
    end = _vector(g)
    g.op("Slice", value, g.const([0], "int64"), end, g.const([axis], "int64"))


def _entries(g: Growth) -> None:
    """Slices of a shape, negated or reversed, as exporters leave them behind."""
    shape = g.op("Shape", g.pick(ANY, range(2, 6)))
    ends = g.one_of([(-1, -9, 0, -1), (1, 9, 0, 1)])
    g.op("Slice", shape, *(g.const([end], "int64") for end in ends))


ROWS = [
    Row("Reshape", _reshape, 3),
    Row("Reshape-1", _flat, 0.5),
    Row("Shape", _shape, 1),
    Row("Size", _size, 0.3),
    Row("ConstantOfShape", _constant_of_shape, 1),
    Row("Range", _range, 1),
    Row("Range of inputs", _range_given, 0.4),
    Row("EyeLike", _eye, 0.3),
    Row("Shape+Expand", _expand, 0.8),
    Row("Shape+Range", _positions, 0.8),
    Row("Shape+Slice", _prefix, 0.8),
    Row("Shape entries", _entries, 0.3),
]
