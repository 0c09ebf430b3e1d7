"""The quantised family."""

from __future__ import annotations

from ..growth import Growth
from ..values import Value
from .row import Row


def _bytes(g: Growth, dtypes: tuple[str, ...], ranks: range) -> Value:
    """8-bit values: of the graph, or a float value quantised."""
    if g.flip(0.5):
        return g.pick(dtypes, ranks)
    return g.op("QuantizeLinear", g.pick(("float32",), ranks), *_scale(g, g.one_of(dtypes)))


def _scale(g: Growth, dtype: str) -> tuple[Value, Value]:
    zero = g.integer(0, 20) if dtype == "uint8" else g.integer(-9, 9)
    return g.const(float(g.rng.uniform(0.02, 0.2)), "float32"), g.const(zero, dtype)


def _quantize(g: Growth) -> None:
    value = g.pick(("float32",), range(0, 5))
    size = value.fixed(-1) if value.rank else None
    if size and g.flip(0.3):
        scales = g.const(g.rng.uniform(0.02, 0.2, size), "float32")
        zeros = g.const(g.draw("uint8", [size]))
        g.op("QuantizeLinear", value, scales, zeros, axis=-1)
        return
    quantized = g.op("QuantizeLinear", value, *_scale(g, g.one_of(["uint8", "int8"])))
    if g.flip():
        g.op("DequantizeLinear", quantized, *_scale(g, quantized.dtype))


def _dequantize(g: Growth) -> None:
    value = _bytes(g, ("uint8", "int8"), range(0, 5))
    g.op("DequantizeLinear", value, *_scale(g, value.dtype))


def _dynamic(g: Growth) -> None:
    g.ops("DynamicQuantizeLinear", 3, g.pick(("float32",), range(1, 5)))


def _matmul(g: Growth) -> None:
    a = _bytes(g, ("uint8", "int8"), range(2, 5))
    depth = a.fixed(-1) or 1
    b = g.const(g.draw(g.one_of(["int8", "uint8"]), [depth, g.one_of([1, 4, 17])]))
    if g.flip():
        zeros = [g.const(g.integer(0, 5), a.dtype), g.const(g.integer(0, 5), b.dtype)]
        g.op("MatMulInteger", a, b, *zeros[: g.integer(0, 2)])
        return
    g.op("QLinearMatMul", a, *_scale(g, a.dtype), b, *_scale(g, b.dtype), *_scale(g, a.dtype))


def _conv(g: Growth) -> None:
    image = _bytes(g, ("uint8",), range(3, 5))
    channels = image.fixed(1) or 1
    kernel = [g.one_of([1, 3]) for _ in range(image.rank - 2)]
    weight = g.const(g.draw("int8", [g.one_of([1, 4]), channels, *kernel]))
    pads = {"pads": [size // 2 for size in kernel] * 2}
    if g.flip() and image.rank == 4:
        g.op("ConvInteger", image, g.const(g.draw("uint8", weight.some.shape)), **pads)
        return
    g.op(
        "QLinearConv",
        image,
        *_scale(g, "uint8"),
        weight,
        *_scale(g, "int8"),
        *_scale(g, "uint8"),
        **pads,
    )


ROWS = [
    Row("QuantizeLinear", _quantize, 0.8),
    Row("DequantizeLinear", _dequantize, 0.4),
    Row("DynamicQuantizeLinear", _dynamic, 0.4),
    Row("MatMulInteger", _matmul, 0.8),
    Row("QLinearConv", _conv, 0.8),
]
