"""Resampling along one axis: where each new element lies in the old axis, and what it takes there.

Positions are float32, as ONNX Runtime computes them. Everything is ordinary tensor operators, so
that old and new size may be symbols.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Dim
from tvm_sod2.frontend.dims import expr


@dataclass
class Axis:
    """One axis to resize: ``scale`` is None where it is new size / old size by definition."""

    index: int
    old: Dim
    new: Dim
    scale: float | Expr | None
    crop: tuple[Expr, Expr] | None = None


@dataclass
class Plan:
    """The attributes of a Resize, under ONNX's meaning and defaults."""

    mode: str
    coordinates: str
    nearest: str
    cubic_a: float
    exclude_outside: bool
    extrapolation: float
    antialias: bool = False


def _float(c: Context, dim: Dim) -> Expr:
    """Return a dim as a float32 tensor that broadcasts."""
    if isinstance(dim, int):
        return const(float(dim), "float32")
    return c.astype(c.emit(R.shape_to_tensor(relax.ShapeExpr([expr(dim)]))), "float32")


def _f32(number: float) -> Expr:
    return const(number, "float32")


def scale_of(c: Context, axis: Axis) -> Expr:
    """Return the scale as a float32 tensor of one number."""
    if axis.scale is None:
        return c.emit(R.divide(_float(c, axis.new), _float(c, axis.old)))
    return _f32(axis.scale) if isinstance(axis.scale, float) else axis.scale


def coordinates(c: Context, plan: Plan, axis: Axis) -> Expr:
    """Return, per position of the new axis, the float32 position in the old one."""
    at = c.astype(c.iota(axis.new), "float32")
    old, new, scale = _float(c, axis.old), _float(c, axis.new), scale_of(c, axis)
    half = _f32(0.5)
    centred = c.emit(R.divide(c.emit(R.add(at, half)), scale))
    half_pixel = c.emit(R.subtract(centred, half))
    many = c.emit(R.greater(new, _f32(1.0)))
    last = c.emit(R.subtract(old, _f32(1.0)))
    steps = c.emit(R.maximum(c.emit(R.subtract(new, _f32(1.0))), _f32(1.0)))
    kind = plan.coordinates
    if kind == "half_pixel":
        return half_pixel
    if kind == "asymmetric":
        return c.emit(R.divide(at, scale))
    if kind == "pytorch_half_pixel":
        return c.emit(R.where(many, half_pixel, _f32(0.0)))
    if kind == "align_corners":
        return c.emit(R.divide(c.emit(R.multiply(at, last)), steps))
    if kind == "half_pixel_symmetric":
        exact = c.emit(R.multiply(scale, old))
        shrink = c.emit(R.subtract(_f32(1.0), c.emit(R.divide(new, exact))))
        offset = c.emit(R.multiply(c.emit(R.multiply(old, half)), shrink))
        # In ONNX Runtime's order: in another one, places that a tie decides come out elsewhere.
        return c.emit(R.subtract(c.emit(R.add(offset, centred)), half))
    if kind == "tf_crop_and_resize" and axis.crop is not None:
        begin, end = axis.crop
        extent = c.emit(R.multiply(c.emit(R.subtract(end, begin)), last))
        inside = c.emit(R.divide(c.emit(R.multiply(at, extent)), steps))
        several = c.emit(R.add(c.emit(R.multiply(begin, last)), inside))
        middle = c.emit(R.multiply(c.emit(R.multiply(c.emit(R.add(begin, end)), half)), last))
        return c.emit(R.where(many, several, middle))
    raise c.error(f"coordinate_transformation_mode {kind!r} is not known")


def is_outside(c: Context, at: Expr, axis: Axis) -> Expr:
    last = c.emit(R.subtract(_float(c, axis.old), _f32(1.0)))
    below = c.emit(R.less(at, _f32(0.0)))
    return c.emit(R.logical_or(below, c.emit(R.greater(at, last))))


def on_axis(c: Context, x: Expr, axis: Axis, vector: Expr) -> Expr:
    """Shape a vector so that it broadcasts along the resized axis."""
    size = c.dims(vector)[0]
    return c.reshape(vector, [size if i == axis.index else 1 for i in range(c.rank(x))])


def _take(c: Context, x: Expr, axis: Axis, place: Expr) -> Expr:
    """Take the elements at float positions, clamped to the axis."""
    last = c.emit(R.subtract(_float(c, axis.old), _f32(1.0)))
    inside = c.emit(R.minimum(c.emit(R.maximum(place, _f32(0.0))), last))
    return c.take(x, c.astype(inside, "int64"), axis.index)


def _weighted(c: Context, x: Expr, axis: Axis, taps: list[tuple[Expr, Expr]]) -> Expr:
    total: Expr | None = None
    for place, weight in taps:
        factor = c.astype(on_axis(c, x, axis, weight), c.dtype(x))
        part = c.emit(R.multiply(_take(c, x, axis, place), factor))
        total = part if total is None else c.emit(R.add(total, part))
    return total


def _nearest(c: Context, plan: Plan, x: Expr, axis: Axis, at: Expr) -> Expr:
    half = _f32(0.5)
    if plan.nearest == "simple":
        place = c.emit(R.floor(at))
        if isinstance(axis.scale, float) and axis.scale < 1:
            place = c.emit(R.ceil(at))
        elif not isinstance(axis.scale, float):
            up = c.emit(R.ceil(at))
            place = c.emit(R.where(c.emit(R.less(axis.scale, _f32(1.0))), up, place))
    elif plan.nearest == "round_prefer_floor":
        place = c.emit(R.ceil(c.emit(R.subtract(at, half))))
    elif plan.nearest == "round_prefer_ceil":
        place = c.emit(R.floor(c.emit(R.add(at, half))))
    elif plan.nearest in ("floor", "ceil"):
        place = c.emit((R.floor if plan.nearest == "floor" else R.ceil)(at))
    else:
        raise c.error(f"nearest_mode {plan.nearest!r} is not known")
    return _take(c, x, axis, place)


def _linear(c: Context, plan: Plan, x: Expr, axis: Axis, at: Expr) -> Expr:
    last = c.emit(R.subtract(_float(c, axis.old), _f32(1.0)))
    at = c.emit(R.minimum(c.emit(R.maximum(at, _f32(0.0))), last))
    low = c.emit(R.floor(at))
    above = c.emit(R.subtract(at, low))
    below = c.emit(R.subtract(_f32(1.0), above))
    high = c.emit(R.add(low, _f32(1.0)))
    return _weighted(c, x, axis, [(low, below), (high, above)])


def _polynomial(c: Context, t: Expr, factors: list[float]) -> Expr:
    """Horner's rule, highest power first."""
    value: Expr = _f32(factors[0])
    for factor in factors[1:]:
        value = c.emit(R.add(c.emit(R.multiply(value, t)), _f32(factor)))
    return value


def _cubic(c: Context, plan: Plan, x: Expr, axis: Axis, at: Expr) -> Expr:
    # Keys' kernel (near: distance <= 1, far: up to 2) at distances t + 1, t, 1 - t and 2 - t.
    a = plan.cubic_a
    near, far = [a + 2, -(a + 3), 0.0, 1.0], [a, -5 * a, 8 * a, -4 * a]
    base = c.emit(R.floor(at))
    t = c.emit(R.subtract(at, base))
    back = c.emit(R.subtract(_f32(1.0), t))
    weights = [
        _polynomial(c, c.emit(R.add(t, _f32(1.0))), far),
        _polynomial(c, t, near),
        _polynomial(c, back, near),
        _polynomial(c, c.emit(R.add(back, _f32(1.0))), far),
    ]
    places = [c.emit(R.add(base, _f32(shift))) for shift in (-1.0, 0.0, 1.0, 2.0)]
    if plan.exclude_outside:
        weights = [
            c.emit(R.where(is_outside(c, place, axis), _f32(0.0), weight))
            for place, weight in zip(places, weights, strict=True)
        ]
        total = weights[0]
        for weight in weights[1:]:
            total = c.emit(R.add(total, weight))
        weights = [c.emit(R.divide(weight, total)) for weight in weights]
    return _weighted(c, x, axis, list(zip(places, weights, strict=True)))


TAPS: dict[str, Callable[[Context, Plan, Expr, Axis, Expr], Expr]] = {
    "nearest": _nearest,
    "linear": _linear,
    "bilinear": _linear,
    "cubic": _cubic,
}
