"""Reading images at computed positions, and other gathers that are one expression per element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from typing import Any

from tvm import relax, te, tirx
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters.kernels import emit_te

Attrs = dict[str, Any]
Inputs = list[Any]
Tap = tuple[Any, Any]  # position along one axis, weight

_CUBIC = -0.75


def _i64(value: Any) -> Any:
    return tirx.Cast("int64", value)


class _Axis:
    """One spatial axis of the image: ``size`` elements, and what lies beyond them."""

    def __init__(self, size: Any, dtype: str, padding: str, align: bool) -> None:
        self.size, self.dtype, self.padding, self.align = size, dtype, padding, align
        self.float_size = tirx.Cast(dtype, size)

    def const(self, value: float) -> Any:
        return tirx.const(value, self.dtype)

    def place(self, grid: Any) -> Any:
        """Where a coordinate in [-1, 1] lies, in elements, brought inside as the padding says."""
        one, half = self.const(1), self.const(0.5)
        if self.align:
            at = (grid + one) * half * (self.float_size - one)
        else:
            at = ((grid + one) * self.float_size - one) * half
        if self.padding == "border":
            return tirx.max(tirx.min(at, self.float_size - one), self.const(0))
        return self.reflected(at) if self.padding == "reflection" else at

    def reflected(self, at: Any) -> Any:
        """Mirrored at the borders, as often as it takes."""
        low = self.const(0 if self.align else -0.5)
        span = self.float_size - self.const(1) if self.align else self.float_size
        period = tirx.max(span * self.const(2), self.const(1e-6))
        far = tirx.abs(at - low)
        phase = far - tirx.floor(far / period) * period
        mirrored = tirx.min(phase, period - phase) + low
        # An element exactly between two halves must not leave the image by rounding.
        return tirx.max(tirx.min(mirrored, low + span), low)

    def inside(self, index: Any) -> Any:
        return tirx.all(index >= 0, index < self.size)

    def clamped(self, index: Any) -> Any:
        """The element that stands for a position: a valid index."""
        if self.padding == "reflection":
            index = _i64(tirx.floor(self.reflected(tirx.Cast(self.dtype, index)) + self.const(0)))
        zero = tirx.const(0, "int64")
        return tirx.max(tirx.min(index, self.size - tirx.const(1, "int64")), zero)

    def nearest(self, at: Any) -> list[Tap]:
        return [(_i64(tirx.nearbyint(at)), self.const(1))]

    def linear(self, at: Any) -> list[Tap]:
        low = tirx.floor(at)
        share = at - low
        base = _i64(low)
        return [(base, self.const(1) - share), (base + tirx.const(1, "int64"), share)]

    def cubic(self, at: Any) -> list[Tap]:
        low = tirx.floor(at)
        t = at - low
        base = _i64(low)
        a, one = self.const(_CUBIC), self.const(1)

        def near(d: Any) -> Any:
            return ((a + self.const(2)) * d - (a + self.const(3))) * d * d + one

        def far(d: Any) -> Any:
            line = a * d - self.const(5) * a
            return (line * d + self.const(8) * a) * d - self.const(4) * a

        weights = [far(t + one), near(t), near(one - t), far(self.const(2) - t)]
        return [(base + tirx.const(i - 1, "int64"), w) for i, w in enumerate(weights)]


_TAPS: dict[str, Callable[[_Axis, Any], list[Tap]]] = {
    "nearest": _Axis.nearest,
    "bilinear": _Axis.linear,
    "linear": _Axis.linear,
    "bicubic": _Axis.cubic,
    "cubic": _Axis.cubic,
}


def _grid_sample(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, grid = inputs
    spatial = c.rank(x) - 2
    mode = attrs.get("mode", "bilinear")
    padding, align = attrs.get("padding_mode", "zeros"), bool(attrs.get("align_corners", 0))
    taps = _TAPS.get(mode)
    if taps is None:
        raise c.error(f"mode {mode!r} is not known")
    dims = c.dims(grid)
    grid = c.equate(grid, [c.dims(x)[0], *dims[1:-1], spatial])
    # Positions in 32 bits at least: 16 could not tell neighbours in a large image apart.
    dtype = "float64" if c.dtype(grid) == "float64" else "float32"
    at, image = c.astype(grid, dtype), c.astype(x, dtype) if c.is_float(x) else x

    def compute(data: te.Tensor, where: te.Tensor) -> te.Tensor:
        axes = [_Axis(size, dtype, padding, align) for size in data.shape[2:]]

        def element(n: Any, channel: Any, *index: Any) -> Any:
            found = [
                taps(axis, axis.place(where(n, *index, tirx.const(spatial - 1 - i, "int64"))))
                for i, axis in enumerate(axes)
            ]
            parts = [_value(data, n, channel, axes, chosen, padding) for chosen in product(*found)]
            total = reduce(lambda a, b: a + b, parts)
            return total if data.dtype == dtype else tirx.Cast(data.dtype, total)

        shape = (data.shape[0], data.shape[1], *where.shape[1:-1])
        return te.compute(shape, element, name="grid_sample")

    return c.astype(emit_te(c, compute, image, at), c.dtype(x))


def _value(
    data: te.Tensor, n: Any, channel: Any, axes: list[_Axis], taps: Sequence[Tap], padding: str
) -> Any:
    """An element of the image times the weights of its place."""
    index = [axis.clamped(place) for axis, (place, _) in zip(axes, taps, strict=True)]
    value = data(n, channel, *index)
    if data.dtype != axes[0].dtype:
        value = tirx.Cast(axes[0].dtype, value)
    weight = reduce(lambda a, b: a * b, (weight for _, weight in taps))
    if padding == "zeros":
        inside = [axis.inside(place) for axis, (place, _) in zip(axes, taps, strict=True)]
        value = tirx.if_then_else(tirx.all(*inside), value, axes[0].const(0))
    return value * weight


def _reverse_sequence(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """Reverse the first ``lengths[b]`` elements along the time axis of each sequence."""
    time, batch = attrs.get("time_axis", 0), attrs.get("batch_axis", 1)
    lengths = c.astype(inputs[1], "int64")

    def compute(x: te.Tensor, size: te.Tensor) -> te.Tensor:
        def element(*index: Any) -> Any:
            at, limit = index[time], size(index[batch])
            place = tirx.if_then_else(at < limit, limit - at - tirx.const(1, "int64"), at)
            return x(*(place if axis == time else i for axis, i in enumerate(index)))

        return te.compute(x.shape, element, name="reverse_sequence")

    return emit_te(c, compute, inputs[0], lengths)


def _bit_cast(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    from tvm_sod2.frontend.dtypes import relax_dtype

    dtype = relax_dtype(attrs["to"])
    if c.dtype(inputs[0]) == dtype:
        return inputs[0]
    if "bool" in (dtype, c.dtype(inputs[0])):
        raise c.error("the bits of bool values cannot be read; cast instead")

    def compute(x: te.Tensor) -> te.Tensor:
        return te.compute(x.shape, lambda *i: tirx.reinterpret(dtype, x(*i)), name="bit_cast")

    return emit_te(c, compute, inputs[0])


def _col2im(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """Add the columns' blocks up where they came from: the inverse of cutting windows."""
    x, image, block = inputs
    spatial, rank = c.dims(image)[0], c.result_rank()
    spatial = rank - 2 if rank is not None else spatial
    if not isinstance(spatial, int):
        raise c.error("how many spatial axes its image has must be known")
    known = c.constant(block)
    if known is None:
        window = c.symbols_of(block, spatial, f"{c.hint}_block")
    else:
        window = [int(size) for size in known]
    size = c.symbols_of(image, spatial, f"{c.hint}_image")
    ones = [1] * spatial
    strides, dilations = attrs.get("strides") or ones, attrs.get("dilations") or ones
    pads = attrs.get("pads") or [0] * (2 * spatial)
    counts = [
        (n + pads[i] + pads[spatial + i] - dilations[i] * (window[i] - 1) - 1) // strides[i] + 1
        for i, n in enumerate(size)
    ]
    n, rows, _ = c.dims(x)
    cells = reduce(lambda a, b: a * b, window)
    x = c.reshape(x, [n, rows // cells, *window, *counts])

    def compute(data: te.Tensor) -> te.Tensor:
        taps = [
            te.reduce_axis((0, k), name=f"k{i}") for i, k in enumerate(data.shape[2:][:spatial])
        ]

        def element(b: Any, channel: Any, *index: Any) -> Any:
            from_ = [at + pads[i] - taps[i] * dilations[i] for i, at in enumerate(index)]
            places = [tirx.floordiv(v, strides[i]) for i, v in enumerate(from_)]
            valid = [tirx.floormod(v, strides[i]) == 0 for i, v in enumerate(from_)]
            valid += [
                tirx.all(p >= 0, p < data.shape[2 + spatial + i]) for i, p in enumerate(places)
            ]
            value = tirx.if_then_else(
                tirx.all(*valid), data(b, channel, *taps, *places), tirx.const(0, data.dtype)
            )
            return te.sum(value, axis=taps)

        shape = (
            data.shape[0],
            data.shape[1],
            *(tirx.const(s, "int64") if isinstance(s, int) else s for s in size),
        )
        return te.compute(shape, element, name="col2im")

    return emit_te(c, compute, x)


def _tensor_scatter(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """A cache with an update written along an axis, per batch from its own position on."""
    past, update, start = (*inputs, None)[:3]
    axis = c.axis(attrs.get("axis", -2), c.rank(past))
    circular = attrs.get("mode", "linear") == "circular"
    if start is None:
        start = c.emit(R.full(relax.ShapeExpr([c.dims(past)[0]]), c.ints(0)))

    def compute(old: te.Tensor, new: te.Tensor, begin: te.Tensor) -> te.Tensor:
        def element(*index: Any) -> Any:
            place = index[axis] - begin(index[0])
            if circular:
                place = tirx.floormod(place, old.shape[axis])
            there = [place if i == axis else at for i, at in enumerate(index)]
            written = tirx.all(place >= 0, place < new.shape[axis])
            return tirx.if_then_else(written, new(*there), old(*index))

        return te.compute(old.shape, element, name="tensor_scatter")

    return emit_te(c, compute, past, update, c.astype(start, "int64"))


def _affine_grid(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """Positions in [-1, 1] of every element of an image, last axis first, moved by theta."""
    theta = inputs[0]
    spatial, rank = c.dims(theta)[1], c.result_rank()
    spatial = rank - 2 if rank is not None else spatial
    if not isinstance(spatial, int):
        raise c.error("how many spatial axes it has must be known: the second dim of theta")
    align = bool(attrs.get("align_corners", 0))
    size = c.symbols_of(inputs[1], spatial + 2, f"{c.hint}_size")

    def compute(matrix: te.Tensor) -> te.Tensor:
        dtype = matrix.dtype
        one, two = tirx.const(1, dtype), tirx.const(2, dtype)
        dims = [tirx.const(n, "int64") if isinstance(n, int) else n for n in size]

        def place(at: Any, count: Any) -> Any:
            at, count = tirx.Cast(dtype, at), tirx.Cast(dtype, count)
            if align:
                return at * two / tirx.max(count - one, one) - one
            return (at * two + one) / count - one

        def element(n: Any, *index: Any) -> Any:
            *position, row = index
            moved = matrix(n, row, tirx.const(spatial, "int64"))
            for axis, (at, count) in enumerate(zip(position, dims[2:], strict=True)):
                column = tirx.const(spatial - 1 - axis, "int64")
                moved = moved + matrix(n, row, column) * place(at, count)
            return moved

        shape = (matrix.shape[0], *dims[2:], tirx.const(spatial, "int64"))
        return te.compute(shape, element, name="affine_grid")

    return emit_te(c, compute, theta)


CONVERTERS: dict[str, Converter] = {
    "AffineGrid": _affine_grid,
    "BitCast": _bit_cast,
    "Col2Im": _col2im,
    "GridSample": _grid_sample,
    "ReverseSequence": _reverse_sequence,
    "TensorScatter": _tensor_scatter,
}
