"""Reductions, scans, normalisations and orderings."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..drawing import RejectedError
from ..growth import Growth
from ..values import Value
from .row import FLOAT, INTEGER, Row, axes_of, axis_of, positive, vector

_LONGEST_SUM = 1000


def _reduction(name: str, dtypes: tuple[str, ...], weight: float = 0.6) -> Row:
    def add(g: Growth) -> None:
        value = g.pick(dtypes)
        if name == "ReduceMean" and any(0 in sizes for sizes in value.dims):
            raise RejectedError  # The mean of nothing is not defined.
        if name == "ReduceLogSum":
            value = positive(g, value)
        keep = g.integer(0, 1)
        attributes = {} if g.flip(0.2) and keep else {"keepdims": keep}
        if g.flip(0.15):
            noop = g.integer(0, 1)
            _summable(name, value, range(value.rank))
            g.op(name, value, **attributes, **({"noop_with_empty_axes": 1} if noop else {}))
            return
        axes = axes_of(g, value, 1)
        _summable(name, value, axes)
        given = vector(g, axes) if keep and g.flip(0.3) else g.const(axes, "int64")
        g.op(name, value, given, **attributes)

    return Row(name, add, weight, 18)


def _summable(name: str, value: Value, axes: Iterable[int]) -> None:
    """Reject long sums of floats: where they cancel, the order decides more than a last digit."""
    if name not in ("ReduceSum", "ReduceMean") or value.dtype not in FLOAT:
        return
    counts = np.prod([value.dims[axis] for axis in axes], axis=0)
    if np.max(counts) > _LONGEST_SUM:
        raise RejectedError


def _arg(name: str) -> Row:
    def add(g: Growth) -> None:
        value = g.pick((*FLOAT, *INTEGER), range(1, 6))
        g.op(
            name,
            value,
            axis=axis_of(g, value),
            keepdims=g.integer(0, 1),
            select_last_index=int(g.flip(0.3)),
        )

    return Row(name, add, 0.7)


def _along(name: str, dtypes: tuple[str, ...] = FLOAT, weight: float = 0.7) -> Row:
    def add(g: Growth) -> None:
        value = g.pick(dtypes, range(1, 6))
        g.op(name, value, **({} if g.flip(0.2) else {"axis": axis_of(g, value)}))

    return Row(name, add, weight)


def _cum_sum(g: Growth) -> None:
    value = g.pick((*FLOAT, *INTEGER), range(1, 6))
    axis = g.const(axis_of(g, value), "int64")
    g.op("CumSum", value, axis, exclusive=g.integer(0, 1), reverse=g.integer(0, 1))


def _layer_norm(g: Growth) -> None:
    value = g.pick(("float32",), range(1, 6))
    axis = axis_of(g, value)
    sizes = [value.fixed(a) for a in range(axis % value.rank, value.rank)]
    known = [size for size in sizes if size is not None]
    if len(known) != len(sizes):
        raise RejectedError
    scale, bias = (g.const(g.draw("float32", known)) for _ in range(2))
    rest = [bias] if g.flip() else []
    g.ops("LayerNormalization", g.one_of([1, 1, 3]), value, scale, *rest, axis=axis, epsilon=0.01)


def _rms_norm(g: Growth) -> None:
    value = g.pick(("float32",), range(1, 6))
    size = value.fixed(-1)
    if size is None:
        raise RejectedError
    g.op("RMSNormalization", value, g.const(g.draw("float32", [size])), axis=-1, epsilon=0.01)


def _channels(g: Growth, op_type: str, outputs: int = 1) -> None:
    """The norms whose scale and bias are vectors over the channels."""
    value = g.pick(("float32",), range(2 if outputs else 3, 6), lambda v: bool(v.fixed(1)))
    channels = value.fixed(1)
    assert channels is not None
    scale, bias = (g.const(g.draw("float32", [channels])) for _ in range(2))
    if op_type == "BatchNormalization":
        mean = g.const(g.draw("float32", [channels]))
        variance = g.const(np.abs(g.draw("float32", [channels])) + 0.5)
        g.op(op_type, value, scale, bias, mean, variance)
    elif op_type == "GroupNormalization":
        groups = g.one_of([n for n in (1, 2, 3, 4) if channels % n == 0])
        g.op(op_type, value, scale, bias, num_groups=groups, epsilon=0.01)
    else:
        g.op(op_type, value, scale, bias, epsilon=0.01)


def _lp_norm(g: Growth) -> None:
    value = g.op("Add", g.op("Abs", g.pick(("float32",), range(1, 5))), g.const(0.1, "float32"))
    g.op("LpNormalization", value, axis=axis_of(g, value), p=g.integer(1, 2))


def _lrn(g: Growth) -> None:
    g.op("LRN", g.pick(("float32",), (3, 4)), size=g.one_of([1, 3, 5]), alpha=0.1, beta=0.7)


def _mvn(g: Growth) -> None:
    value = g.pick(("float32",), range(1, 5))
    axes = sorted(a % value.rank for a in axes_of(g, value, 1))
    if any(min(value.dims[a]) < 2 for a in axes):
        raise RejectedError  # Without any variance rounding alone decides the result.
    g.op("MeanVarianceNormalization", g.op("Mul", value, g.const(3.0, "float32")), axes=axes)


def _top_k(g: Growth) -> None:
    value = g.pick(("float32", "int64"), range(1, 5))
    axis = axis_of(g, value)
    sizes = value.dims[axis]
    if g.flip(0.5) and min(sizes) > 0:
        k = g.const([g.integer(1, min(sizes))], "int64")
    else:  # as many as the run says
        entries = iter([g.integer(0, size) for size in sizes])
        arrays = [None if a is None else np.array([next(entries)]) for a in value.exact]
        k = g.given(arrays, [1])
    largest = g.integer(0, 1)
    g.ops("TopK", 2, value, k, axis=axis, largest=largest, sorted=1)


_REDUCIBLE = (*FLOAT, *INTEGER)

ROWS = [
    _reduction("ReduceSum", _REDUCIBLE, 1.2),
    _reduction("ReduceMean", FLOAT, 1.2),
    _reduction("ReduceMax", _REDUCIBLE, 1),
    _reduction("ReduceMin", _REDUCIBLE),
    _reduction("ReduceProd", FLOAT, 0.3),
    _reduction("ReduceL1", FLOAT, 0.3),
    _reduction("ReduceL2", FLOAT),
    _reduction("ReduceSumSquare", FLOAT, 0.3),
    _reduction("ReduceLogSum", FLOAT, 0.3),
    _reduction("ReduceLogSumExp", FLOAT, 0.3),
    _arg("ArgMax"),
    _arg("ArgMin"),
    _along("Softmax", weight=1.5),
    _along("LogSoftmax"),
    _along("Hardmax", ("float32",), 0.3),
    Row("CumSum", _cum_sum, 0.8),
    Row("LayerNormalization", _layer_norm, 1),
    Row("RMSNormalization", _rms_norm, 0.4, 23),
    Row("BatchNormalization", lambda g: _channels(g, "BatchNormalization"), 0.8),
    Row("InstanceNormalization", lambda g: _channels(g, "InstanceNormalization", 0), 0.5),
    Row("GroupNormalization", lambda g: _channels(g, "GroupNormalization", 0), 0.4, 21),
    Row("LpNormalization", _lp_norm, 0.4),
    Row("LRN", _lrn, 0.3),
    Row("MeanVarianceNormalization", _mvn, 0.3),
    Row("TopK", _top_k, 1),
]
