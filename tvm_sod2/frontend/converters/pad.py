"""Padding. Pads that depend on the data are symbols of the result's dims, like any other shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter, Dim
from tvm_sod2.frontend.converters.axes import spread
from tvm_sod2.frontend.dims import expr, simplify

Attrs = dict[str, Any]
Inputs = list[Any]


def pad_constant(c: Context, x: Expr, before: list[Dim], after: list[Dim], value: Expr) -> Expr:
    """Emit ``x`` with ``before[i]`` and ``after[i]`` elements of ``value`` around axis i.

    Relax's own pad wants integers; others become a concatenation with filled tensors.
    """
    x = _cropped(c, x, before, after)
    before, after = ([_positive(pad) for pad in pads] for pads in (before, after))
    number = c.constant(value)
    if number is not None and all(isinstance(pad, int) for pad in before + after):
        if not any(before + after):
            return x
        widths = [width for pair in zip(before, after, strict=True) for width in pair]
        return c.emit(R.nn.pad(x, widths, "constant", number.item()))
    for axis, pair in enumerate(zip(before, after, strict=True)):
        dims = c.dims(x)
        blocks = [
            c.emit(_filled(value, [*dims[:axis], pad, *dims[axis + 1 :]])) if pad is not None else x
            for pad in (pair[0], None, pair[1])
            if pad is None or not isinstance(pad, int) or pad
        ]
        if len(blocks) > 1:
            x = c.emit(R.concat(blocks, axis))
    return x


def _filled(value: Expr, dims: list[Dim]) -> Expr:
    # Not R.full: TVM's legalisation of it fails on an infinite value.
    return R.broadcast_to(value, relax.ShapeExpr(dims))


def _positive(pad: Dim) -> Dim:
    return max(pad, 0) if isinstance(pad, int) else pad


def _cropped(c: Context, x: Expr, before: list[Dim], after: list[Dim]) -> Expr:
    """Emit what negative pads leave of ``x``."""
    cut = [
        axis
        for axis, pair in enumerate(zip(before, after, strict=True))
        if any(isinstance(pad, int) and pad < 0 for pad in pair)
    ]
    if not cut:
        return x
    dims = c.dims(x)
    begins = [-min(before[i], 0) if isinstance(before[i], int) else 0 for i in cut]
    ends = [dims[i] + (min(after[i], 0) if isinstance(after[i], int) else 0) for i in cut]
    return c.emit(R.strided_slice(x, cut, begins, ends, [1] * len(cut), assume_inbound=True))


def _cropped_at_run_time(
    c: Context, x: Expr, pads: Expr, axes: list[int]
) -> tuple[Expr, list[Dim]]:
    """Emit what negative pads leave of ``x``, and return the pads that add to it."""
    count, pads = len(axes), c.astype(pads, "int64")
    added = c.emit(R.maximum(pads, c.ints(0)))
    cut = c.emit(R.maximum(c.emit(R.negative(pads)), c.ints(0)))
    both = c.emit(R.concat([added, cut], 0))
    symbols = c.symbols_of(both, 4 * count, f"{c.hint}_pads")
    first, last = symbols[2 * count : 3 * count], symbols[3 * count :]
    ends = [simplify(c.dims(x)[axis] - end) for axis, end in zip(axes, last, strict=True)]
    left = R.strided_slice(x, axes, first, ends, [1] * count, assume_inbound=True)
    return c.emit(left), symbols[: 2 * count]


def _source_index(c: Context, mode: str, x: Expr, axis: int, before: Dim, after: Dim) -> Expr:
    """Return for each position of the padded axis the position in ``x`` that it repeats."""
    size = c.dims(x)[axis]
    place = c.emit(R.subtract(c.iota(before + size + after), dim_tensor(c, before)))
    count = dim_tensor(c, size)
    last = c.emit(R.subtract(count, c.ints(1)))
    if mode == "edge":
        return c.emit(R.minimum(c.emit(R.maximum(place, c.ints(0))), last))
    if mode == "wrap":
        return c.emit(R.floor_mod(place, count))
    # Reflection is a triangle wave of period 2 (size - 1); a single element reflects into itself.
    period = c.emit(R.maximum(c.emit(R.multiply(last, c.ints(2))), c.ints(1)))
    phase = c.emit(R.floor_mod(place, period))
    return c.emit(R.minimum(phase, c.emit(R.subtract(period, phase))))


def dim_tensor(c: Context, dim: Dim) -> Expr:
    """Return a dim as an int64 tensor that broadcasts."""
    if isinstance(dim, int):
        return c.ints(dim)
    return c.emit(R.shape_to_tensor(relax.ShapeExpr([expr(dim)])))


def _spread_pads(c: Context, pads: Expr, axes: Expr, rank: int) -> Expr:
    """Return the pads of all axes from those of some, which only the run knows."""
    count = c.dims(axes)[0]
    halves = c.reshape(pads, [2, count])
    none = c.ints([0] * rank)
    parts = [
        spread(c, axes, c.reshape(c.take(halves, c.ints([i])), [count]), none) for i in range(2)
    ]
    return c.emit(R.concat(parts, 0))


def _pad(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, rank, mode = inputs[0], c.rank(inputs[0]), attrs.get("mode", "constant")
    given = inputs[3] if len(inputs) > 3 else None
    axes = list(range(rank))
    if given is not None and c.constant(given) is None:
        x, pads = _cropped_at_run_time(c, x, _spread_pads(c, inputs[1], given, rank), axes)
    elif len(inputs) > 1:
        if given is not None:
            axes = [c.axis(int(axis), rank) for axis in c.require_constant(given, "axes")]
        if c.constant(inputs[1]) is None:
            x, pads = _cropped_at_run_time(c, x, inputs[1], axes)
        else:
            pads = [int(pad) for pad in c.require_constant(inputs[1], "pads")]
    else:
        pads = attrs["pads" if c.opset > 1 else "paddings"]
    if len(pads) != 2 * len(axes):
        raise c.error(f"{len(pads)} pads for {len(axes)} axes")
    before: list[Dim] = [0] * rank
    after: list[Dim] = [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[len(axes) + i]
    if mode == "constant":
        if len(inputs) > 2 and inputs[2] is not None:
            value = c.reshape(inputs[2], [])
        else:
            value = const(np.asarray(attrs.get("value", 0)).astype(c.dtype(x)))
        return pad_constant(c, x, before, after, value)
    x = _cropped(c, x, before, after)
    known = [pad for pair in zip(before, after, strict=True) for pad in pair]
    if mode in _BORDERS and all(isinstance(pad, int) for pad in known):
        return R.nn.pad(x, [max(pad, 0) for pad in known], _BORDERS[mode])
    for axis in range(rank):
        first, last = _positive(before[axis]), _positive(after[axis])
        if isinstance(first, int) and isinstance(last, int) and first == last == 0:
            continue
        index = _source_index(c, mode, x, axis, first, last)
        x = c.take(x, index, axis)
    return x


# Relax's names of modes that need no index tensors where the pads are integers.
_BORDERS = {"edge": "replicate", "reflect": "reflect"}

CONVERTERS: dict[str, Converter] = {"Pad": _pad}
