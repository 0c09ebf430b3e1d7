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


CONVERTERS: dict[str, Converter] = {
    "BlackmanWindow": _cosine_window(0.42, 0.5, 0.08),
    "HammingWindow": _cosine_window(25 / 46, 21 / 46),
    "HannWindow": _cosine_window(0.5, 0.5),
    "LRN": _lrn,
}
