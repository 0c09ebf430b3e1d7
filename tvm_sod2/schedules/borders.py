"""Pads that repeat the edge or reflect at it: one copy whose regions are affine.

TVM's own legalisation reflects once; ONNX reflects a wide pad again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax, te, tirx

Value = Any


def _replicated(_place: Value, size: Value, _widest: int) -> tuple[Value, Value]:
    return _i64(0), tirx.max(size - 1, _i64(0))


def _reflected(place: Value, size: Value, widest: int) -> tuple[Value, Value]:
    # A triangle wave of period 2 (size - 1); a single element reflects into itself.
    period = tirx.max((size - 1) * 2, _i64(1))
    phase = tirx.floormod(place, period)
    wave = tirx.min(phase, period - phase)
    once = (_i64(0) - place, (size - 1) * 2 - place)
    low, high = (tirx.if_then_else(size > _i64(widest), near, wave) for near in once)
    return low, high


_OUTSIDE: dict[str, Callable[[Value, Value, int], tuple[Value, Value]]] = {
    "replicate": _replicated,
    "reflect": _reflected,
}
"""From a place outside of an axis, its size and the widest pad: the element that stands there, if
the place is before the first, and if it is behind the last."""


def pad(bb: relax.BlockBuilder, call: Any) -> Any:
    """relax.nn.pad; other modes than these two as TVM has them."""
    outside = _OUTSIDE.get(str(call.attrs.pad_mode))
    if outside is None or call.ty.shape is None:
        return call.op.get_attr("FLegalize")(bb, call)
    widths = [int(width) for width in call.attrs.pad_width]

    def source(i: Value, size: Value, before: int, after: int) -> Value:
        if not before and not after:
            return i
        place = i - _i64(before)
        low, high = outside(place, size, max(before, after))
        inside = tirx.if_then_else(i < size + _i64(before), place, high) if after else place
        return tirx.if_then_else(i < _i64(before), low, inside) if before else inside

    def padded(x: te.Tensor) -> te.Tensor:
        def element(*index: Value) -> Value:
            return x(*map(source, index, x.shape, widths[::2], widths[1::2]))

        return te.compute(list(call.ty.shape), element, name="pad")

    return bb.call_te(padded, call.args[0], primfunc_name_hint="pad")


def _i64(value: int) -> tirx.IntImm:
    return tirx.IntImm("int64", value)
