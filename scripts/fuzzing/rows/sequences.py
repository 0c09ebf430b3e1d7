"""Sequences of tensors, and optionals."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from ..drawing import RejectedError
from ..growth import Growth
from ..values import Listed, Value
from .control import condition, graph, grown, result_like
from .row import Row, axis_of

_DTYPES = ("float32", "float32", "int64", "bool", "int32", "float16")


def _items(g: Growth) -> list[Value]:
    """Tensors of one dtype and rank."""
    first = g.pick(_DTYPES, range(0, 5))
    return [first, *(_another(g, first) for _ in range(g.integer(0, 3)))]


def _another(g: Growth, value: Value) -> Value:
    way = g.integer(0, 2)
    if way == 0:
        return g.pick([value.dtype], [value.rank])
    if way == 1:
        return g.pick([value.dtype], [value.rank], lambda other: other.dims == value.dims)
    return g.like(value)


def _construct(g: Growth) -> Listed:
    return g.sequence("SequenceConstruct", *_items(g))


def _split(g: Growth) -> Listed:
    value = g.pick(_DTYPES, range(1, 5))
    axis = axis_of(g, value)
    way = g.integer(0, 3)
    if way == 0:
        return g.sequence("SplitToSequence", value, axis=axis, keepdims=g.integer(0, 1))
    if way == 1:
        return g.sequence("SplitToSequence", value, g.const(g.integer(1, 3), "int64"), axis=axis)
    if way == 2:
        part = g.given([np.array(g.integer(1, 4)) for _ in g.sizes], [])
        return g.sequence("SplitToSequence", value, part, axis=axis)
    firsts = [None if a is None else g.integer(0, a.shape[axis]) for a in value.exact]
    parts = g.given(
        [
            None if a is None or first is None else np.array([first, a.shape[axis] - first])
            for a, first in zip(value.exact, firsts, strict=True)
        ],
        [2],
    )
    return g.sequence("SplitToSequence", value, parts, axis=axis)


def _any(g: Growth, least: int = 0) -> Listed:
    """A sequence of `least` tensors or more, old or new."""
    old = [s for s in g.sequences if min(s.counts) >= least]
    if old and g.flip(0.8):
        return g.one_of(old)
    new = g.one_of([_construct, _split])(g)
    if min(new.counts) < least:
        raise RejectedError
    return new


def _fit(g: Growth, sequence: Listed) -> Value:
    """A tensor that can be put into the sequence: rather of the rank that the others have."""
    some = sequence.known()
    if some is None:
        return g.pick([sequence.dtype], range(0, 5))
    return _another(g, some) if g.flip(0.9) else g.pick([sequence.dtype], range(0, 5))


def _place(g: Growth, counts: list[int]) -> Value:
    """A place below every count, from either end: a weight, or known at run time only."""
    place = g.integer(-min(counts), min(counts) - 1)
    if g.flip(0.6):
        return g.const(place, g.one_of(["int64", "int32"]))
    return g.given([np.array(place) for _ in g.sizes], [])


def _empty(g: Growth) -> None:
    value = g.pick(_DTYPES, range(0, 5))
    dtype = helper.np_dtype_to_tensor_dtype(value.some.dtype)
    g.sequence("SequenceInsert", g.sequence("SequenceEmpty", dtype=dtype), value)


def _insert(g: Growth) -> None:
    sequence = _any(g)
    places = [_place(g, [count + 1 for count in sequence.counts])] if g.flip() else []
    g.sequence("SequenceInsert", sequence, _fit(g, sequence), *places)


def _erase(g: Growth) -> None:
    sequence = _any(g, 1)
    places = [_place(g, sequence.counts)] if g.flip(0.7) else []
    g.sequence("SequenceErase", sequence, *places)


def _at(g: Growth) -> None:
    sequence = _any(g, 1)
    g.op("SequenceAt", sequence, _place(g, sequence.counts))


def _joins(sequence: Listed, axis: int | None = None) -> bool:
    """Whether all its tensors have one shape, but for one axis."""

    def rest(array: np.ndarray) -> tuple[int, ...]:
        return tuple(dim for at, dim in enumerate(array.shape) if at != axis)

    return all(arrays and len(set(map(rest, arrays))) == 1
               for arrays in sequence.exact if arrays is not None)  # fmt: skip


def _length(g: Growth) -> None:
    g.op("SequenceLength", _any(g))


def _join(g: Growth) -> None:
    old = [s for s in g.sequences if _joins(s)]
    sequence = g.one_of(old) if old and g.flip(0.6) else g.one_of([_construct, _split])(g)
    some = sequence.known()
    if some is None or not some.rank:
        raise RejectedError
    axis, new = axis_of(g, some), g.flip(0.3)
    if not _joins(sequence, None if new else axis % some.rank):
        raise RejectedError  # ONNX Runtime leaves out a part of no entry, whatever its dims.
    g.op("ConcatFromSequence", sequence, axis=axis, new_axis=int(new))


def _map(g: Growth) -> None:
    sequence = _any(g, 1)
    some = sequence.known()
    if some is None:
        raise RejectedError
    element = g.formal(some.exact)
    with g.body([element]) as nodes:
        grown(g, g.integer(1, 3))
        result = result_like(g, "float32", some.rank, nodes)
        body = graph("body", nodes, [element], [result])
    g.sequence("SequenceMap", sequence, body=body)


def _loop(g: Growth) -> None:
    """A sequence that grows by a tensor at each trip, or shrinks by one."""
    sequence = _any(g, 4)
    some = sequence.known()
    if some is None:
        raise RejectedError
    trips = g.given([np.array(g.integer(0, 4)) for _ in g.sizes], [])
    counter = g.formal([np.array(0)] * len(g.sizes))
    going = g.formal([np.array(True)] * len(g.sizes))
    carried = g.formal_sequence(sequence)
    with g.body([counter, going, carried]) as nodes:
        grown(g, g.integer(1, 3))
        if g.flip(0.7):
            item = result_like(g, sequence.dtype, some.rank, nodes)
            left = g.sequence("SequenceInsert", carried, item)
        else:
            left = g.sequence("SequenceErase", carried, g.const(0, "int64"))
        go_on = g.op("Identity", going)
        body = graph("body", nodes, [counter, going, carried], [go_on, left])
    g.sequence("Loop", trips, None, sequence, body=body)


def _if(g: Growth) -> None:
    chosen = condition(g)
    model = _any(g)
    arms = []
    for name in ("then", "else"):
        with g.body() as nodes:
            if g.flip():
                grown(g, g.integer(1, 2))
            fit = [s for s in g.sequences if s.dtype == model.dtype]
            if g.flip(0.3):
                result = g.sequence("SequenceConstruct", g.pick([model.dtype], range(0, 5)))
            else:
                result = g.sequence("Identity", g.one_of(fit))
            arms.append((name, graph(name, nodes, [], [result])))
    g.sequence("If", chosen, **{f"{name}_branch": arm for name, arm in arms})


def _optional(g: Growth) -> None:
    """A tensor that is there or not, and what takes its place."""
    value = g.pick(("float32", "int64"), range(0, 5))
    other = g.pick([value.dtype], [value.rank])
    dtype = helper.np_dtype_to_tensor_dtype(value.some.dtype)
    kind = helper.make_tensor_type_proto(dtype, [None] * value.rank)

    def arm(node: onnx.NodeProto, made: onnx.TypeProto) -> onnx.GraphProto:
        result = helper.make_value_info(node.output[0], made)
        return helper.make_graph([node], "arm", [], [result])

    chosen = condition(g)
    optional = helper.make_optional_type_proto(kind)
    there = arm(g.node("Optional", 1, value), optional)
    nothing = arm(g.node("Optional", 1, type=kind), optional)
    arms = (there, nothing) if g.flip() else (nothing, there)
    held = g.node("If", 1, chosen, then_branch=arms[0], else_branch=arms[1])
    has = g.node("OptionalHasElement", 1, held.output[0])
    taken = arm(g.node("OptionalGetElement", 1, held.output[0]), kind)
    instead = arm(g.node("Identity", 1, other), kind)
    g.group([held, has, g.node("If", 1, has.output[0], then_branch=taken, else_branch=instead)])


ROWS = [
    Row("SequenceConstruct", _construct, 0.5),
    Row("SplitToSequence", _split, 0.4),
    Row("SequenceEmpty", _empty, 0.2),
    Row("SequenceInsert", _insert, 0.4),
    Row("SequenceErase", _erase, 0.3),
    Row("SequenceAt", _at, 0.8),
    Row("SequenceLength", _length, 0.2),
    Row("ConcatFromSequence", _join, 0.9),
    Row("SequenceMap", _map, 0.3),
    Row("Loop over a sequence", _loop, 0.3),
    Row("If of sequences", _if, 0.3),
    Row("Optional", _optional, 0.4),
]
