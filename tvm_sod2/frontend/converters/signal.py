"""Windows of signal processing, and normalisation over neighbouring channels."""

from __future__ import annotations

import math
from typing import Any

from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.dims import product
from tvm_sod2.frontend.dtypes import relax_dtype

Attrs = dict[str, Any]
Inputs = list[Any]


def _cosine_window(*weights: float) -> Converter:
    """weights[0] - weights[1] cos(2 pi n / N) + weights[2] cos(4 pi n / N) - ..."""

    def converter(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
        size = c.symbols_of(c.astype(c.reshape(inputs[0], [1]), "int64"), 1, f"{c.hint}_size")[0]
        dtype = relax_dtype(attrs.get("output_datatype", 1))
        places = c.iota(size, "float32")
        length = c.astype(c.reshape(inputs[0], []), "float32")
        if not attrs.get("periodic", 1):
            length = c.emit(R.subtract(length, const(1.0, "float32")))
        turn = c.emit(R.divide(places, length))
        total: Expr = const(weights[0], "float32")
        for order, weight in enumerate(weights[1:], start=1):
            angle = c.emit(R.multiply(turn, const(2 * math.pi * order, "float32")))
            sign = -1 if order % 2 else 1
            wave = c.emit(R.multiply(c.emit(R.cos(angle)), const(sign * weight, "float32")))
            total = c.emit(R.add(wave, total))
        return c.astype(total, dtype)

    return converter


def _lrn(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """x / (bias + alpha / size * sum of squares over neighbouring channels) ** beta"""
    x, size = inputs[0], attrs["size"]
    dims = c.dims(x)
    # The mean over a window of channels, zeros counted, is the sum over its size.
    rows = c.reshape(c.emit(R.multiply(x, x)), [dims[0], 1, dims[1], product(dims[2:])])
    pads = [(size - 1) // 2, 0, size - 1 - (size - 1) // 2, 0]
    mean = c.emit(R.nn.avg_pool2d(rows, [size, 1], padding=pads, count_include_pad=True))
    scaled = c.emit(R.multiply(c.reshape(mean, dims), c.scalar(attrs.get("alpha", 1e-4), x)))
    base = c.emit(R.add(scaled, c.scalar(attrs.get("bias", 1.0), x)))
    return R.divide(x, c.emit(R.power(base, c.scalar(attrs.get("beta", 0.75), x))))


def _mel(c: Context, value: Expr) -> Expr:
    """2595 log10(1 + f / 700)"""
    ratio = c.emit(R.divide(c.astype(c.reshape(value, []), "float32"), const(700.0, "float32")))
    return c.emit(
        R.multiply(
            c.emit(R.log(c.emit(R.add(ratio, const(1.0, "float32"))))),
            const(2595 / math.log(10), "float32"),
        )
    )


def _mel_weights(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """Triangles over the bins of a spectrum, evenly spaced in mel: shape (bins, bands)."""
    bands, length, rate, lower, upper = inputs
    count = c.symbols_of(c.astype(c.reshape(bands, [1]), "int64"), 1, f"{c.hint}_bands")[0]
    whole = c.astype(c.reshape(length, [1]), "int64")
    half = c.emit(R.add(c.emit(R.floor_divide(whole, c.ints([2]))), c.ints([1])))
    bins = c.symbols_of(half, 1, f"{c.hint}_bins")[0]
    low, high = _mel(c, lower), _mel(c, upper)
    bands_f = c.astype(c.reshape(bands, []), "float32")
    one = const(1.0, "float32")
    step = c.emit(
        R.divide(c.emit(R.subtract(high, low)), c.emit(R.add(bands_f, const(2.0, "float32"))))
    )
    whole_f = c.astype(c.emit(R.add(c.reshape(whole, []), c.ints(1))), "float32")
    scale = c.emit(R.divide(whole_f, c.astype(c.reshape(rate, []), "float32")))

    def edge(shift: int) -> Expr:
        """The bin of the band's left corner, peak or right corner (shift 0, 1, 2)."""
        place = c.emit(R.add(c.iota(count, "float32"), const(float(shift), "float32")))
        mel = c.emit(R.add(c.emit(R.multiply(place, step)), low))
        power = c.emit(R.multiply(mel, const(math.log(10) / 2595, "float32")))
        hertz = c.emit(R.multiply(c.emit(R.subtract(c.emit(R.exp(power)), one)), _f700()))
        return c.reshape(c.emit(R.floor(c.emit(R.multiply(hertz, scale)))), [1, count])

    left, peak, right = (edge(shift) for shift in range(3))
    bin_ = c.reshape(c.iota(bins, "float32"), [bins, 1])
    zero = const(0.0, "float32")

    def share(part: Expr, span: Expr) -> Expr:
        return c.emit(R.divide(part, c.emit(R.maximum(span, one))))

    rising = share(c.emit(R.subtract(bin_, left)), c.emit(R.subtract(peak, left)))
    falling = share(c.emit(R.subtract(right, bin_)), c.emit(R.subtract(right, peak)))
    sloped = c.emit(R.maximum(c.emit(R.minimum(rising, falling)), zero))
    # A band narrower than a bin is its peak alone.
    flat = c.emit(R.equal(left, peak))
    at_peak = c.emit(R.equal(bin_, peak))
    first = c.emit(R.where(c.emit(R.less_equal(bin_, peak)), one, c.emit(R.maximum(falling, zero))))
    first = c.emit(R.where(c.emit(R.less(bin_, peak)), zero, first))
    weights = c.emit(R.where(flat, first, sloped))
    return c.astype(
        c.emit(R.where(at_peak, one, weights)), relax_dtype(attrs.get("output_datatype", 1))
    )


def _f700() -> Expr:
    return const(700.0, "float32")


CONVERTERS: dict[str, Converter] = {
    "BlackmanWindow": _cosine_window(0.42, 0.5, 0.08),
    "HammingWindow": _cosine_window(25 / 46, 21 / 46),
    "HannWindow": _cosine_window(0.5, 0.5),
    "LRN": _lrn,
    "MelWeightMatrix": _mel_weights,
}
