"""Shrinking an axis by a filter as wide as the shrinking: Resize with antialias=1.

Each new element is a weighted mean of old ones under a triangle, or Keys' cubic (1981), stretched
by 1 / scale. How many lie under it follows from the sizes, which may be symbols.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from tvm import te, tirx
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Dim
from tvm_sod2.frontend.converters.interpolation import Axis, Plan
from tvm_sod2.frontend.converters.kernels import emit_te
from tvm_sod2.frontend.dims import expr, floordiv, maximum

REACH = {"linear": 1, "bilinear": 1, "cubic": 2}
"""By mode: how far the filter reaches from its middle, in elements of the smaller axis."""


def filtered(c: Context, plan: Plan, x: Expr, axis: Axis, at: Expr, scale: Expr) -> Expr:
    """Emit ``x`` resized along one axis.

    at: float32 (new size,), where each new element lies in the old axis; scale: float32, one number
    that broadcasts.
    """
    reach = REACH[plan.mode]
    one = const(1.0, "float32")
    shrink = c.reshape(c.emit(R.minimum(scale, one)), [1])
    span = c.emit(R.divide(const(float(reach), "float32"), shrink))
    first = c.emit(R.add(c.emit(R.floor(c.emit(R.subtract(at, span)))), one))
    weights = _weights(c, plan, at, first, shrink, axis.old, _taps(axis, reach))
    weights = c.emit(R.divide(weights, c.emit(R.sum(weights, [1], True))))
    return _applied(c, x, axis.index, c.astype(first, "int64"), c.astype(weights, c.dtype(x)))


def _taps(axis: Axis, reach: int) -> Dim:
    """Return how many old elements the filter covers: ceil(2 * reach * max(1 / scale, 1))."""
    if isinstance(axis.scale, float):
        return ceil(2 * reach * max(1 / axis.scale, 1))
    # The new size is the old one times the scale, rounded up by a half at most.
    double = maximum(2 * axis.new - 1, 1)
    return maximum(floordiv(4 * reach * axis.old + double - 1, double), 2 * reach)


def _weights(
    c: Context, plan: Plan, at: Expr, first: Expr, shrink: Expr, old: Dim, taps: Dim
) -> Expr:
    """Emit the filter's values, float32 (new size, taps)."""

    def triangle(d: Any) -> Any:
        return tirx.max(tirx.const(1, "float32") - d, tirx.const(0, "float32"))

    def cubic(d: Any) -> Any:
        a = tirx.const(plan.cubic_a, "float32")
        one, two, zero = (tirx.const(v, "float32") for v in (1, 2, 0))
        near = ((a + two) * d - (a + tirx.const(3, "float32"))) * d * d + one
        line = a * d - a * tirx.const(5, "float32")
        far = (line * d + a * tirx.const(8, "float32")) * d - a * tirx.const(4, "float32")
        return tirx.Select(d <= one, near, tirx.Select(d < two, far, zero))

    shape = cubic if plan.mode == "cubic" else triangle

    def compute(
        middle: te.Tensor, begin: te.Tensor, factor: te.Tensor, size: Any, count: Any
    ) -> te.Tensor:
        def element(o: Any, t: Any) -> Any:
            place = begin(o) + tirx.Cast("float32", t)
            weight = shape(tirx.abs(place - middle(o)) * factor(0))
            if not plan.exclude_outside:
                return weight
            inside = tirx.all(place >= 0, place < tirx.Cast("float32", size))
            return tirx.Select(inside, weight, tirx.const(0, "float32"))

        return te.compute((middle.shape[0], expr(count)), element, name="filter")

    return emit_te(c, compute, at, first, shrink, expr(old), expr(taps))


def _applied(c: Context, x: Expr, axis: int, first: Expr, weights: Expr) -> Expr:
    """Emit the sums over an axis; beyond its ends the elements there repeat."""

    def compute(data: te.Tensor, begin: te.Tensor, factors: te.Tensor) -> te.Tensor:
        tap = te.reduce_axis((0, factors.shape[1]), name="tap")
        last = data.shape[axis] - tirx.const(1, "int64")

        def element(*index: Any) -> Any:
            o = index[axis]
            place = tirx.max(tirx.min(begin(o) + tap, last), tirx.const(0, "int64"))
            source = [place if i == axis else at for i, at in enumerate(index)]
            return te.sum(data(*source) * factors(o, tap), axis=tap)

        shape = [begin.shape[0] if i == axis else dim for i, dim in enumerate(data.shape)]
        return te.compute(shape, element, name="antialias")

    return emit_te(c, compute, x, first, weights)
