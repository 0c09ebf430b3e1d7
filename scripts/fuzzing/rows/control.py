"""If, Loop and Scan, whose bodies are random graphs, too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from ..drawing import RejectedError
from ..growth import Growth
from ..values import Held, Value, declared
from .row import ANY, Row, axis_of

_DEEPEST = 2


def graph(
    name: str, nodes: list[onnx.NodeProto], inputs: Sequence[Held], outputs: Sequence[Held]
) -> onnx.GraphProto:
    """A body whose formal inputs have a rank and no dims."""
    formals = [declared(v, [None] * v.rank if isinstance(v, Value) else None) for v in inputs]
    return helper.make_graph(nodes, name, formals, [declared(v) for v in outputs])


def grown(g: Growth, count: int) -> None:
    """Grow the body that is open; RejectedError where too many are."""
    from ..random_graph import grow

    if g.depth > _DEEPEST:
        raise RejectedError
    grow(g, count)


def result_like(g: Growth, dtype: str, rank: int, inside: list[onnx.NodeProto]) -> Value:
    """A value of a body: one of its own where there is one, else a copy of an outer one."""
    made = {name for node in inside for name in node.output}
    fit = [v for v in g.visible if v.dtype == dtype and v.rank == rank]
    own = [v for v in fit if v.name in made]
    if own:
        return g.one_of(own)
    return g.op("Identity", g.one_of(fit))


def condition(g: Growth) -> Value:
    """A scalar that differs between samples: an input, or computed from a size or from entries."""
    way = g.integer(0, 2)
    if way == 0:
        return g.given([np.array(bool(i % 2) ^ g.flip()) for i in range(len(g.sizes))], [])
    if way == 1:
        size = g.op("Size", g.pick(("float32", "int64"), range(1, 5)))
        return g.op("Greater", size, g.const(g.integer(0, 12), "int64"))
    total = g.op("ReduceSum", g.pick(("float32",), range(1, 5)), keepdims=0)
    return g.op("Greater", total, g.const(0.0, "float32"))


def _if(g: Growth) -> None:
    chosen = condition(g)
    model = g.pick(("float32", "float32", "int64"), range(0, 5))
    arms = []
    for name in ("then", "else"):
        with g.body() as nodes:
            if g.flip(0.85):
                grown(g, g.integer(1, 4))
            results = [result_like(g, model.dtype, model.rank, nodes)]
            arms.append((name, nodes, results))
    graphs = {f"{name}_branch": graph(name, nodes, [], rs) for name, nodes, rs in arms}
    g.op("If", chosen, **graphs)


def _loop(g: Growth) -> None:
    state = g.pick(("float32", "float32", "int64"), range(0, 4))
    collects = g.flip(0.4)
    least = int(collects)  # What no trip collects has dims that ONNX leaves open.
    trips = g.given([np.array(g.integer(least, 4)) for _ in g.sizes], [])
    if g.flip(0.4):
        trips = g.const(g.integer(least, 4), "int64")
    scalar = [np.array(0)] * len(g.sizes)
    counter = g.formal(list(scalar))
    going = g.formal([np.array(True)] * len(g.sizes))
    carried = g.formal(state.exact)
    with g.body([counter, going, carried]) as nodes:
        grown(g, g.integer(1, 4))
        new = result_like(g, state.dtype, state.rank, nodes)
        collected = [g.op("Identity", g.pick(ANY, range(0, 4)))] if collects else []
        go_on = (
            g.op("Identity", going)
            if g.flip(0.7)
            else g.op("Less", counter, g.const(g.integer(0, 3), "int64"))
        )
        results = [go_on, new, *collected]
        body = graph("body", nodes, [counter, going, carried], results)
    first = g.const(True, "bool") if g.flip(0.5) else None
    g.ops("Loop", 1 + len(collected), trips, first, state, body=body)


def _scan(g: Growth) -> None:
    sequence = g.pick(("float32",), range(1, 5))
    axis = axis_of(g, sequence)
    if not sequence.smallest(axis):
        raise RejectedError  # What no trip collects has dims that ONNX leaves open.
    state = g.pick(("float32",), range(0, 4))
    carried = g.formal(state.exact)
    element = g.formal([None if a is None else a.take(0, axis) for a in sequence.exact])
    with g.body([carried, element]) as nodes:
        grown(g, g.integer(1, 4))
        new = _same_shape(g, carried)
        collected = g.op("Identity", g.pick(("float32", "int64"), range(0, 4)))
        body = graph("body", nodes, [carried, element], [new, collected])
    g.ops(
        "Scan",
        2,
        state,
        sequence,
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[axis],
        scan_input_directions=[g.integer(0, 1)],
    )


def _same_shape(g: Growth, value: Value) -> Value:
    fit = [v for v in g.visible if v.dtype == value.dtype and v.dims == value.dims and v != value]
    if fit and g.flip(0.8):
        return g.op("Tanh", g.one_of(fit))
    return g.op("Tanh", value)


ROWS = [
    Row("If", _if, 1.2),
    Row("Loop", _loop, 0.6),
    Row("Scan", _scan, 0.4),
]
