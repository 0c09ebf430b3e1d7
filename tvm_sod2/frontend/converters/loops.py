"""Loop: its body becomes a function that repeats itself, see `frontend.loops`."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import replace
from typing import Any

import onnx
from tvm.relax import Expr

from tvm_sod2.frontend.check import subgraphs, walk
from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.loop_function import symbols_in
from tvm_sod2.frontend.loops import Turn, is_large, loop
from tvm_sod2.frontend.sequence_lists import copied, join, whole
from tvm_sod2.frontend.sequences import Sequence

Attrs = dict[str, Any]
Inputs = list[Any]


def _loop(c: Context, inputs: Inputs, attrs: Attrs) -> list[Any]:
    limit, starts, *state = (*inputs, None, None)[: max(2, len(inputs))]
    body = attrs["body"]
    names = [value.name for value in body.input]
    if len(names) != 2 + len(state):
        raise c.error(f"its body takes {len(names)} inputs, where {2 + len(state)} are given")

    # Sequences and optionals: what is known of them before every turn.
    objects = [None if isinstance(value, Expr) else value for value in state]
    known = symbols_in(c.visible.values())
    # What they hold of one turn must not be what the next one writes over.
    tensors = [value for value in state if isinstance(value, Expr)]
    overwrites = len(tensors) < len(state) and any(is_large(c, value) for value in tensors)

    grows = [_only_grows(body, i) for i in range(len(state))]

    def run(number: Expr, values: Several[Expr]) -> Turn:
        state = [v if o is None else o.held_by(v) for o, v in zip(objects, values, strict=True)]
        for i, value in enumerate(state):
            if isinstance(value, Sequence):
                state[i] = replace(value, grows=grows[i])
        given = dict(zip(names, [number, const(True), *state], strict=True))
        c.module.overwritten += overwrites
        goes_on, *results = c.import_arm(body, given)
        again = False
        for i, before in enumerate(objects):
            if before is None and not isinstance(results[i], Expr):
                raise c.error(f"its state {i} is a tensor before a turn and none after it")
            if before is not None:
                joined = join(c, before, results[i], known)
                again |= joined.summary != before.summary
                objects[i], results[i] = joined, whole(c, results[i])
        c.module.overwritten -= overwrites
        flag = c.reshape(goes_on, [])
        return Turn(flag, results[: len(values)], results[len(values) :], again)

    bound = None if limit is None else c.reshape(c.astype(limit, "int64"), [])
    condition = None if starts is None else c.reshape(starts, [])
    begun = [value if isinstance(value, Expr) else whole(c, value) for value in state]
    pairs = zip(begun, state, grows, strict=True)
    state = [copied(c.bb, v) if own and isinstance(s, Sequence) else v for v, s, own in pairs]
    state, collected = loop(c, run, bound, condition, state)
    results = [v if o is None else o.held_by(v) for o, v in zip(objects, state, strict=True)]
    return [*results, *collected]


def _only_grows(body: onnx.GraphProto, i: int) -> bool:
    """Whether the turns do nothing with a sequence, state ``i``, but append to it."""
    before, after = body.input[2 + i].name, body.output[1 + i].name
    makers = [node for node in body.node if after in node.output]
    graphs = [body, *(graph for node in walk(body) for graph in subgraphs(node))]
    used = [value.name for graph in graphs for value in graph.output]
    used += [name for node in walk(body) for name in node.input]
    if not makers or makers[0].op_type != "SequenceInsert" or any(makers[0].input[2:]):
        return False
    return makers[0].input[0] == before and used.count(before) == 1 == used.count(after)


CONVERTERS: dict[str, Converter] = {"Loop": _loop}
