"""Scan: a loop over the slices of tensors, see `frontend.loops`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter, Dim
from tvm_sod2.frontend.converters.pad import pad_constant
from tvm_sod2.frontend.dims import simplify
from tvm_sod2.frontend.loops import Turn, loop

Attrs = dict[str, Any]
Inputs = list[Any]


def _scan(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr]:
    if c.opset < 9:
        return _scan_batches(c, inputs, attrs)
    state, scanned = _parted(c, inputs, attrs)
    count, outputs = len(scanned), len(attrs["body"].output) - len(state)
    axes = _given(attrs, "scan_input_axes", count)
    axes = [c.axis(axis, c.rank(value)) for axis, value in zip(axes, scanned, strict=True)]
    turns = c.dims(scanned[0])[axes[0]]
    scanned = [
        c.equate(v, [turns if i == axis else dim for i, dim in enumerate(c.dims(v))])
        for v, axis in zip(scanned, axes, strict=True)
    ]
    limit = _extent(c, scanned[0], axes[0])
    backwards = _given(attrs, "scan_input_directions", count)
    state, collected = _scan_slices(c, attrs, state, scanned, axes, backwards, limit, turns)
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


def _scan_batches(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr]:
    """Before operator set 9: one scan per batch, each of its own length, padded with zeros."""
    lengths, *values = inputs
    state, scanned = _parted(c, values, attrs)
    batches, longest = c.dims(scanned[0])[:2]
    state = [c.equate(v, [batches, *c.dims(v)[1:]]) for v in state]
    scanned = [c.equate(v, [batches, longest, *c.dims(v)[2:]]) for v in scanned]
    backwards = _given(attrs, "directions", len(scanned))

    def run(number: Expr, _: Sequence[Expr]) -> Turn:
        begun = [c.take(value, number) for value in state]
        slices = [c.take(value, number) for value in scanned]
        limit, turns = _extent(c, slices[0], 0), longest
        if lengths is not None:
            limit = c.take(c.astype(lengths, "int64"), number)
            turns = c.symbols_of(c.reshape(limit, [1]), 1, f"{c.hint}_turns")[0]
        axes = [0] * len(slices)
        ended, collected = _scan_slices(c, attrs, begun, slices, axes, backwards, limit, turns)
        missing = simplify(longest - turns)
        for i, value in enumerate(collected):
            rest = [0] * (c.rank(value) - 1)
            zero = c.scalar(0, value)
            collected[i] = pad_constant(c, value, [0, *rest], [missing, *rest], zero)
        return Turn(None, [], [*ended, *collected])

    return loop(c, run, _extent(c, scanned[0], 0), None, [], batches)[1]


def _scan_slices(
    c: Context,
    attrs: Attrs,
    state: list[Expr],
    scanned: list[Expr],
    axes: list[int],
    backwards: list[int],
    limit: Expr,
    turns: Dim,
) -> tuple[list[Expr], list[Expr]]:
    """Emit the loop: the state after it, and what its turns gave along a new first axis.

    limit: how many slices are taken, as a tensor; turns: the same as a dim.
    """
    body = attrs["body"]
    last = c.emit(R.subtract(limit, c.ints(1))) if any(backwards) else limit
    names = [value.name for value in body.input]

    def run(number: Expr, values: Sequence[Expr]) -> Turn:
        slices = [
            c.take(value, c.emit(R.subtract(last, number)) if back else number, axis)
            for value, axis, back in zip(scanned, axes, backwards, strict=True)
        ]
        results = c.import_arm(body, dict(zip(names, [*values, *slices], strict=True)))
        return Turn(None, results[: len(values)], results[len(values) :])

    return loop(c, run, limit, None, state, turns)


def _parted(c: Context, inputs: Inputs, attrs: Attrs) -> tuple[list[Expr], list[Expr]]:
    """Return the initial state and what is scanned."""
    count = int(attrs["num_scan_inputs"])
    if not 0 < count <= len(inputs):
        raise c.error(f"it scans {count} of its {len(inputs)} inputs; at least one is expected")
    return inputs[: len(inputs) - count], inputs[len(inputs) - count :]


def _extent(c: Context, value: Expr, axis: int) -> Expr:
    """Return the length of an axis as an int64 scalar."""
    size = c.dims(value)[axis]
    if isinstance(size, int):
        return c.ints(size)
    return c.take(c.shape_tensor(value), c.ints(axis))


def _given(attrs: Attrs, name: str, count: int) -> list[int]:
    return list(attrs.get(name) or [0] * count)


CONVERTERS: dict[str, Converter] = {"Scan": _scan}
