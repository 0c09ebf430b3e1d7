"""Resize and Upsample.

The common case, images enlarged by powers of two, is Relax's resize2d. Anything else (any rank and
axes, fractional scales, given sizes, cubic, cropping) is separable: along each axis the result is a
weighted sum of elements taken at computed positions, all of it ordinary tensor operators.
Coordinates are float32, as ONNX Runtime computes them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter, Dim
from tvm_sod2.frontend.converters.antialias import REACH, filtered
from tvm_sod2.frontend.converters.interpolation import (
    TAPS,
    Axis,
    Plan,
    coordinates,
    is_outside,
    on_axis,
    scale_of,
)
from tvm_sod2.frontend.dims import expr, floordiv, is_same

Attrs = dict[str, Any]
Inputs = list[Any]

_RESIZE2D_MODES = {"half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"}


def _resize(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    if c.opset < 11:
        # Opset 10 knows no coordinate modes: asymmetric, and what ORT calls "simple" rounding.
        plan = Plan(attrs.get("mode", "nearest"), "asymmetric", "simple", -0.75, False, 0.0)
        return _emit(c, x, plan, _by_scales(c, x, inputs[1], None))
    plan = Plan(
        attrs.get("mode", "nearest"),
        attrs.get("coordinate_transformation_mode", "half_pixel"),
        attrs.get("nearest_mode", "round_prefer_floor"),
        attrs.get("cubic_coeff_a", -0.75),
        bool(attrs.get("exclude_outside")),
        attrs.get("extrapolation_value", 0.0),
        bool(attrs.get("antialias")),
    )
    roi, scales, sizes = (*inputs[1:], None, None, None)[:3]
    places = [c.axis(a, c.rank(x)) for a in attrs.get("axes") or range(c.rank(x))]
    # Exporters write an empty tensor for an input that is not meant.
    empty = [array is not None and array.size == 0 for array in map(c.constant, (scales, sizes))]
    sizes = None if empty[1] else sizes
    scales = None if empty[0] else scales
    if sizes is not None:
        axes = _by_sizes(c, x, sizes, places, attrs.get("keep_aspect_ratio_policy", "stretch"))
    elif scales is not None:
        crop = roi if plan.coordinates == "tf_crop_and_resize" else None
        axes = _by_scales(c, x, scales, places, crop)
    else:
        raise c.error("neither scales nor sizes are given")
    if plan.coordinates == "tf_crop_and_resize":
        _crop(c, axes, places, roi)
        return _emit(c, x, plan, axes, always=True)
    return _emit(c, x, plan, axes)


def _upsample(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    scales = inputs[1] if len(inputs) > 1 else const(np.asarray(attrs["scales"], "float32"))
    plan = Plan(attrs.get("mode", "nearest"), "asymmetric", "simple", -0.75, False, 0.0)
    return _emit(c, x, plan, _by_scales(c, x, scales, None))


def _by_scales(
    c: Context, x: Expr, scales: Expr, places: list[int] | None, crop: Expr | None = None
) -> list[Axis]:
    dims = c.dims(x)
    places = list(range(len(dims))) if places is None else places
    known = c.constant(scales)
    if known is not None and (crop is None or c.constant(crop) is not None):
        if known.size != len(places):
            raise c.error(f"{known.size} scales for {len(places)} axes")
        extents = np.ones(len(places), "float32")
        if crop is not None:
            region = np.asarray(c.constant(crop), "float32")
            extents = region[len(places) :] - region[: len(places)]
        return [
            Axis(axis, dims[axis], _scaled(dims[axis], float(scale * extent)), float(scale))
            for axis, scale, extent in zip(places, known, extents, strict=True)
        ]
    sizes = c.astype(c.take(c.shape_tensor(x), c.ints(places)), "float32")
    if crop is not None:
        count = len(places)
        begin, end = (
            c.emit(R.strided_slice(crop, [0], [low], [low + count], [1], assume_inbound=True))
            for low in (0, count)
        )
        sizes = c.emit(R.multiply(sizes, c.astype(c.emit(R.subtract(end, begin)), "float32")))
    wanted = c.emit(R.floor(c.emit(R.multiply(sizes, scales))))
    new = c.symbols_of(c.astype(wanted, "int64"), len(places), f"{c.hint}_sizes")
    return [
        Axis(axis, dims[axis], new[i], c.take(scales, c.ints([i]))) for i, axis in enumerate(places)
    ]


def _scaled(dim: Dim, scale: float) -> Dim:
    """Return floor(dim * scale)."""
    if isinstance(dim, int):
        return int(np.floor(np.float32(dim) * np.float32(scale)))
    # The float32 nearest to 1/3 means 1/3; where no such fraction is near, it means itself.
    ratio = Fraction(scale).limit_denominator(4096)
    if np.float32(float(ratio)) != np.float32(scale):
        ratio = Fraction(float(np.float32(scale)))
    scaled = dim * ratio.numerator
    return scaled if ratio.denominator == 1 else floordiv(scaled, ratio.denominator)


def _by_sizes(c: Context, x: Expr, sizes: Expr, places: list[int], policy: str) -> list[Axis]:
    dims = c.dims(x)
    new = c.symbols_of(sizes, len(places), f"{c.hint}_sizes")
    if len(new) != len(places):
        raise c.error(f"{len(new)} sizes for {len(places)} axes")
    if policy == "stretch":
        return [Axis(a, dims[a], size, None) for a, size in zip(places, new, strict=True)]
    if not all(isinstance(dim, int) for dim in [*new, *(dims[a] for a in places)]):
        return _keep_aspect(c, x, sizes, places, policy)
    choose = min if policy == "not_larger" else max
    scale = choose(size / dims[a] for a, size in zip(places, new, strict=True))
    # Half a pixel up, as the reference rounds.
    return [Axis(a, dims[a], int(np.floor(dims[a] * scale + 0.5)), scale) for a in places]


def _keep_aspect(c: Context, x: Expr, sizes: Expr, places: list[int], policy: str) -> list[Axis]:
    """One scale for all axes, the smallest or largest that the wanted sizes allow."""
    dims = c.dims(x)
    old = c.astype(c.take(c.shape_tensor(x), c.ints(places)), "float32")
    scales = c.emit(R.divide(c.astype(sizes, "float32"), old))
    scale = c.emit((R.min if policy == "not_larger" else R.max)(scales, [0], True))
    # Half a pixel up, as the reference rounds.
    half = const(0.5, "float32")
    wanted = c.emit(R.floor(c.emit(R.add(c.emit(R.multiply(old, scale)), half))))
    new = c.symbols_of(c.astype(wanted, "int64"), len(places), f"{c.hint}_kept")
    return [Axis(a, dims[a], size, scale) for a, size in zip(places, new, strict=True)]


def _crop(c: Context, axes: list[Axis], places: list[int], roi: Expr | None) -> None:
    if roi is None:
        raise c.error("tf_crop_and_resize needs the input 'roi'")
    roi = c.astype(roi, "float32")
    for i, axis in enumerate(axes):
        begin, end = (c.take(roi, c.ints([i + j])) for j in (0, len(places)))
        axis.crop = (begin, end)


def _emit(c: Context, x: Expr, plan: Plan, axes: list[Axis], always: bool = False) -> Expr:
    if not always:
        axes = [axis for axis in axes if not _is_unchanged(axis)]
    if not axes:
        return x
    if _fits_resize2d(c, x, plan, axes):
        return _resize2d(c, x, plan, axes)
    dtype = c.dtype(x)
    if plan.mode != "nearest" and not c.is_float(x):
        x = c.astype(x, "float32")
    outside: Expr | None = None
    for axis in axes:
        at = coordinates(c, plan, axis)
        if axis.crop is not None:
            out = on_axis(c, x, axis, is_outside(c, at, axis))
            outside = out if outside is None else c.emit(R.logical_or(outside, out))
        if plan.antialias and plan.mode in REACH:
            x = filtered(c, plan, x, axis, at, scale_of(c, axis))
        else:
            x = TAPS[plan.mode](c, plan, x, axis, at)
    if outside is not None:
        x = c.emit(R.where(outside, c.scalar(plan.extrapolation, x), x))
    if plan.antialias and "int" in dtype and c.is_float(x):
        limits = np.iinfo(dtype)
        x = c.emit(R.clip(c.emit(R.round(x)), float(limits.min), float(limits.max)))
    return c.astype(x, dtype)


def _is_unchanged(axis: Axis) -> bool:
    if isinstance(axis.scale, float):
        return axis.scale == 1.0
    return axis.scale is None and is_same(axis.old, axis.new)


def _fits_resize2d(c: Context, x: Expr, plan: Plan, axes: list[Axis]) -> bool:
    if c.rank(x) != 4 or any(axis.index < 2 for axis in axes) or c.dtype(x) != "float32":
        return False
    if plan.mode not in ("nearest", "linear") or plan.coordinates not in _RESIZE2D_MODES:
        return False
    if plan.mode == "linear" and plan.coordinates != "half_pixel":
        return False
    # Powers of two divide without rounding, so that both sides compute the same coordinates.
    return all(
        isinstance(axis.scale, float) and axis.scale in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
        for axis in axes
    )


def _resize2d(c: Context, x: Expr, plan: Plan, axes: list[Axis]) -> Expr:
    size = c.dims(x)[2:]
    for axis in axes:
        size[axis.index - 2] = axis.new
    # All scales are at least 1, where "simple" rounding is floor.
    rounding = "floor" if plan.nearest == "simple" else plan.nearest
    return R.image.resize2d(
        x,
        relax.ShapeExpr([expr(dim) for dim in size]),
        layout="NCHW",
        method="nearest_neighbor" if plan.mode == "nearest" else plan.mode,
        coordinate_transformation_mode=plan.coordinates,
        rounding_method=rounding if plan.mode == "nearest" else "",
    )


CONVERTERS: dict[str, Converter] = {"Resize": _resize, "Upsample": _upsample}
