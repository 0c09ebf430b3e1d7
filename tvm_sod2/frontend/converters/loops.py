"""Loop and Scan: their bodies become functions that repeat themselves, see `frontend.loops`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.loop_function import symbols_in
from tvm_sod2.frontend.loops import Turn, loop
from tvm_sod2.frontend.sequence_lists import join, whole

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

    def run(number: Expr, values: Sequence[Expr]) -> Turn:
        state = [v if o is None else o.held_by(v) for o, v in zip(objects, values, strict=True)]
        given = dict(zip(names, [number, const(True), *state], strict=True))
        goes_on, *results = c.import_arm(body, given)
        again = False
        for i, before in enumerate(objects):
            if before is None and not isinstance(results[i], Expr):
                raise c.error(f"its state {i} is a tensor before a turn and none after it")
            if before is not None:
                joined = join(c, before, results[i], known)
                again |= joined.summary != before.summary
                objects[i], results[i] = joined, whole(c, results[i])
        flag = c.reshape(goes_on, [])
        return Turn(flag, results[: len(values)], results[len(values) :], again)

    bound = None if limit is None else c.reshape(c.astype(limit, "int64"), [])
    condition = None if starts is None else c.reshape(starts, [])
    state = [value if isinstance(value, Expr) else whole(c, value) for value in state]
    state, collected = loop(c, run, bound, condition, state)
    results = [v if o is None else o.held_by(v) for o, v in zip(objects, state, strict=True)]
    return [*results, *collected]


def _scan(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr]:
    if c.opset < 9:
        raise c.error(
            "Scan before operator set 9 is not supported; convert the model to 9 or later"
        )
    body = attrs["body"]
    count = int(attrs["num_scan_inputs"])
    state, scanned = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
    if not scanned:
        raise c.error("it scans nothing")
    outputs = len(body.output) - len(state)
    axes = _given(attrs, "scan_input_axes", count)
    axes = [c.axis(axis, c.rank(value)) for axis, value in zip(axes, scanned, strict=True)]
    backwards = _given(attrs, "scan_input_directions", count)
    turns = c.dims(scanned[0])[axes[0]]
    scanned = [
        c.equate(v, [turns if i == axis else dim for i, dim in enumerate(c.dims(v))])
        for v, axis in zip(scanned, axes, strict=True)
    ]
    limit = c.take(c.shape_tensor(scanned[0]), c.ints(axes[0]))
    if isinstance(turns, int):
        limit = c.ints(turns)
    last = c.emit(R.subtract(limit, c.ints(1))) if any(backwards) else limit
    names = [value.name for value in body.input]

    def run(number: Expr, values: Sequence[Expr]) -> Turn:
        slices = [
            c.take(value, c.emit(R.subtract(last, number)) if back else number, axis)
            for value, axis, back in zip(scanned, axes, backwards, strict=True)
        ]
        results = c.import_arm(body, dict(zip(names, [*values, *slices], strict=True)))
        return Turn(None, results[: len(values)], results[len(values) :])

    state, collected = loop(c, run, limit, None, state, turns)
    targets = _given(attrs, "scan_output_axes", outputs)
    reversed_outputs = _given(attrs, "scan_output_directions", outputs)
    for i, (value, axis, back) in enumerate(zip(collected, targets, reversed_outputs, strict=True)):
        if back:
            value = c.emit(R.flip(value, 0), c.dims(value))
        rank = c.rank(value)
        axis = c.axis(axis, rank)
        if axis:
            order = list(range(1, rank))
            value = c.emit(R.permute_dims(value, [*order[:axis], 0, *order[axis:]]))
        collected[i] = value
    return [*state, *collected]


def _given(attrs: Attrs, name: str, count: int) -> list[int]:
    return list(attrs.get(name) or [0] * count)


CONVERTERS: dict[str, Converter] = {"Loop": _loop, "Scan": _scan}
