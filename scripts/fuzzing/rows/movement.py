"""Operators that move entries along known axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..drawing import RejectedError
from ..growth import Growth
from .row import ANY, Row, axes_of, axis_of, partner, run_time_vector, vector


def _transpose(g: Growth) -> None:
    value = g.pick(ANY)
    order = [int(a) for a in g.rng.permutation(value.rank)]
    g.op("Transpose", value, **({"perm": order} if order and g.flip(0.8) else {}))


def _concat(g: Growth) -> None:
    value = g.pick(ANY, range(1, 6))
    axis = axis_of(g, value)
    rest = [d for a, d in enumerate(value.dims) if a != axis % value.rank]
    parts = [value]
    for _ in range(g.integer(0, 2)):
        parts.append(
            g.pick(
                [value.dtype],
                [value.rank],
                lambda v: [d for a, d in enumerate(v.dims) if a != axis % value.rank] == rest,
            )
            if g.flip(0.8)
            else g.like(value)
        )
    g.op("Concat", *parts, axis=axis)


def _split(g: Growth) -> None:
    value = g.pick(ANY, range(1, 6))
    axis = axis_of(g, value)
    size = value.fixed(axis)
    if size is not None and size > 1 and g.flip(0.6):
        first = g.integer(0, size)
        g.ops("Split", 2, value, vector(g, [first, size - first]), axis=axis)
        return
    if g.flip(0.4):  # sizes that only the run knows
        firsts = [None if a is None else g.integer(0, a.shape[axis]) for a in value.exact]
        entries = [
            None if a is None or f is None else [f, a.shape[axis] - f]
            for a, f in zip(value.exact, firsts, strict=True)
        ]
        g.ops("Split", 2, value, run_time_vector(g, entries), axis=axis)
        return
    parts = g.integer(1, 3)
    if any((parts - 1) * -(-s // parts) > s for s in value.dims[axis]):
        raise RejectedError  # There would be a part of a negative size.
    g.ops("Split", parts, value, axis=axis, num_outputs=parts)


def _slice(g: Growth) -> None:
    value = g.pick(ANY, range(1, 6))
    axes = axes_of(g, value, 1)[:2]
    starts, ends, steps = [], [], []
    for axis in axes:
        size = max(value.dims[axis])
        low, high = sorted((g.integer(-size, size), g.integer(-size, size)))
        step = g.one_of([1, 1, 1, 2, 3, -1, -2])
        if g.flip(0.3):
            low, high = (low, 2**31 - 1) if g.flip() else (0, high)
        starts.append(high if step < 0 else low)
        ends.append(low if step < 0 else high)
        steps.append(step)
    inputs = [vector(g, starts), vector(g, ends), g.const(axes, "int64")]
    if any(step != 1 for step in steps) or g.flip(0.2):
        inputs.append(g.const(steps, "int64"))
    g.op("Slice", value, *inputs)


def _pad(g: Growth) -> None:
    value = g.pick(("float32", "int64", "float32", "int32"), range(1, 5))
    mode = g.one_of(["constant", "constant", "reflect", "edge", "wrap"][: 5 if g.opset > 18 else 4])
    low = -1 if mode == "constant" else 0
    least = min(min(d) for d in value.dims)
    high = max(min(2, least - 1 if mode == "reflect" else least), 0)
    if mode != "constant" and least < 1:
        raise RejectedError
    pads = [
        g.integer(low, 3 if mode == "constant" else high) if g.flip() else 0
        for _ in range(2 * value.rank)
    ]
    cuts = [-min(a, 0) - min(b, 0) for a, b in zip(pads, pads[value.rank :], strict=False)]
    if any(cut > size for cut, size in zip(cuts, map(min, value.dims), strict=True)):
        raise RejectedError  # ONNX does not say what is left of less than nothing.
    rest = [g.const(1, value.dtype)] if mode == "constant" and g.flip() else []
    g.op("Pad", value, vector(g, pads), *rest, mode=mode)


def _expand(g: Growth) -> None:
    value = g.pick(ANY, range(0, 5))
    if g.flip(0.5):
        other = g.pick(where=lambda v: v.rank > 0)
        g.op("Expand", value, g.op("Shape", other))
        return
    sizes = [value.fixed(axis) for axis in range(value.rank)]
    wanted = [g.integer(1, 4) if size == 1 else 1 for size in sizes]
    if g.flip(0.3):
        wanted = [g.integer(1, 3), *wanted]
    if not wanted:
        raise RejectedError
    g.op("Expand", value, vector(g, wanted))


def _tile(g: Growth) -> None:
    value = g.pick(ANY, range(1, 5))
    repeats = [g.one_of([1, 1, 2, 3, 0 if g.flip(0.1) else 1]) for _ in range(value.rank)]
    g.op("Tile", value, vector(g, repeats))


def _squeeze(g: Growth) -> None:
    value = g.pick(ANY, range(1, 6), lambda v: any(v.fixed(a) == 1 for a in range(v.rank)))
    ones = [a for a in range(value.rank) if value.fixed(a) == 1]
    axes = ones[: g.integer(1, len(ones))]
    g.op("Squeeze", value, g.const([a - (value.rank if g.flip() else 0) for a in axes], "int64"))


def _unsqueeze(g: Growth) -> None:
    value = g.pick(ANY, range(0, 4))
    count = g.integer(1, 2)
    rank = value.rank + count
    axes = [int(a) - (rank if g.flip(0.3) else 0) for a in g.rng.permutation(rank)[:count]]
    g.op("Unsqueeze", value, g.const(axes, "int64"))


def _flatten(g: Growth) -> None:
    value = g.pick(("float32", "int64"), range(0, 6))
    g.op("Flatten", value, axis=g.integer(-value.rank, value.rank))


def _center(g: Growth) -> None:
    value = g.pick(("float32",), range(1, 4))
    axes = axes_of(g, value, 1)
    g.op("CenterCropPad", value, vector(g, [g.integer(1, 6) for _ in axes]), axes=axes)


def _diamond(g: Growth) -> None:
    """Two ways from one value that meet again."""
    value = g.pick(("float32",))
    names = ["Relu", "Tanh", "Sigmoid", "Neg", "Abs"]
    left = g.op(g.one_of(names), value)
    right = g.op(g.one_of(names), value)
    if g.flip():
        right = g.op("Mul", right, partner(g, right))
    if left.dims == right.dims:
        g.op(g.one_of(["Add", "Mul", "Sub", "Max"]), left, right)


def _halves(g: Growth) -> None:
    """A gated unit: one half scales the other."""
    value = g.pick(("float32",), range(1, 5), lambda v: any(not (v.fixed(a) or 1) % 2
                                                            for a in range(v.rank)))  # fmt: skip
    axis = g.one_of([a for a in range(value.rank) if not (value.fixed(a) or 1) % 2])
    one, other = g.ops("Split", 2, value, axis=axis, num_outputs=2)
    g.op("Mul", one, g.op("Sigmoid", other))


def _cycle(g: Growth) -> None:
    """Slices of a value, concatenated in another order."""
    value = g.pick(("float32", "int64"), range(1, 5))
    axis = axis_of(g, value)
    at: Any = g.integer(0, 3)

    def part(start: int, end: int) -> Any:
        ends = (np.array([start]), np.array([end]), np.array([axis]))
        return g.op("Slice", value, *map(g.const, ends))

    g.op("Concat", part(at, 2**31 - 1), part(0, at), axis=axis)


ROWS = [
    Row("Transpose", _transpose, 2),
    Row("Concat", _concat, 2),
    Row("Split", _split, 1.2, 18),
    Row("Slice", _slice, 2),
    Row("Pad", _pad, 1),
    Row("Expand", _expand, 1),
    Row("Tile", _tile, 0.6),
    Row("Squeeze", _squeeze, 1),
    Row("Unsqueeze", _unsqueeze, 1),
    Row("Flatten", _flatten, 0.6),
    Row("CenterCropPad", _center, 0.3),
    Row("diamond", _diamond, 2),
    Row("Split+Sigmoid+Mul", _halves, 0.7, 18),
    Row("Slice+Concat", _cycle, 0.5),
]
