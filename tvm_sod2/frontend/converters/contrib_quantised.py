"""Quantised operators (domain com.microsoft) that ONNX Runtime's optimiser writes into models.

Products are exact in integers and scaled once; the others compute in float32 between two roundings.
"""

from __future__ import annotations

from typing import Any

from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters import activation, pool
from tvm_sod2.frontend.converters.integer import along, centred, product_factor, quantised
from tvm_sod2.frontend.converters.matmul import matmul
from tvm_sod2.frontend.converters.quantize import CONVERTERS as QUANTIZE

Attrs = dict[str, Any]
Inputs = list[Any]


def _floats(c: Context, x: Expr, scale: Expr, zero: Expr | None) -> Expr:
    return c.emit(QUANTIZE["DequantizeLinear"](c, [x, scale, zero], {}))


def _stored(c: Context, y: Expr, scale: Expr, zero: Expr | None) -> Expr:
    return QUANTIZE["QuantizeLinear"](c, [c.emit(y), scale, zero], {})


def _binary(op: Any) -> Converter:
    def converter(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
        a, scale_a, zero_a, b, scale_b, zero_b, scale, zero = (*inputs, None)[:8]
        left, right = _floats(c, a, scale_a, zero_a), _floats(c, b, scale_b, zero_b)
        return _stored(c, c.broadcast(op, left, right), scale, zero)

    return converter


def _between(converter: Converter) -> Converter:
    """Return the converter of one tensor between dequantisation and quantisation."""

    def converted(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
        x, scale_x, zero_x, scale, zero = (*inputs, None)[:5]
        if attrs.get("channels_last"):
            raise c.error("channels_last is not supported; save the model at level extended")
        return _stored(c, converter(c, [_floats(c, x, scale_x, zero_x)], attrs), scale, zero)

    return converted


def _softmax(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    axis = c.axis(attrs.get("axis", -1), c.rank(x))
    if attrs["opset"] < 13 and axis != c.rank(x) - 1:
        raise c.error("softmax over several axes (opset below 13) cannot be imported")
    return R.nn.softmax(x, axis)


def _concat(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    scale, zero, *rest = inputs
    parts = [_floats(c, *rest[i : i + 3]) for i in range(0, len(rest), 3)]
    return _stored(c, R.concat(parts, c.axis(attrs["axis"], c.rank(parts[0]))), scale, zero)


def _where(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    condition, a, scale_a, zero_a, b, scale_b, zero_b, scale, zero = inputs
    left, right = _floats(c, a, scale_a, zero_a), _floats(c, b, scale_b, zero_b)
    return _stored(c, c.broadcast(R.where, condition, left, right), scale, zero)


def _gemm(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """alpha * scale_a * scale_b * (a @ b + bias), stored as integers where y has a scale."""
    a, scale_a, zero_a, b, scale_b, zero_b, bias, scale, zero = (*inputs, None, None, None)[:9]
    left = _turned(c, centred(c, a, zero_a, 0), bool(attrs.get("transA")))
    right = centred(c, b, zero_b, 0 if attrs.get("transB") else 1)
    total = matmul(c, left, _turned(c, right, bool(attrs.get("transB"))))
    if bias is not None:
        total = c.broadcast(R.add, total, bias)
    alpha = attrs.get("alpha", 1.0)
    columns = along(c, scale_b, 2, 1)
    columns = columns if alpha == 1 else c.emit(R.multiply(columns, c.scalar(alpha, columns)))
    rows = c.reshape(scale_a, [])
    if scale is not None:
        factor = product_factor(c, rows, columns, scale)
        return quantised(c, total, factor, zero, "uint8" if zero is None else c.dtype(zero))
    factor = c.broadcast(R.multiply, rows, columns)
    return R.multiply(c.astype(total, "float32"), factor)


def _turned(c: Context, matrix: Expr, swap: bool) -> Expr:
    return c.emit(R.permute_dims(matrix, [1, 0])) if swap else matrix


def _matmul_to_float(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    a, b, scale_a, scale_b, zero_a, zero_b, bias = (*inputs, None, None, None)[:7]
    total = matmul(c, centred(c, a, zero_a, -2), centred(c, b, zero_b, -1))
    factor = c.broadcast(R.multiply, c.reshape(scale_a, []), along(c, scale_b, c.rank(total), -1))
    y = c.broadcast(R.multiply, c.astype(total, "float32"), factor)
    return y if bias is None else c.broadcast(R.add, y, bias)


def _dynamic_matmul(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """The left operand is quantised by its own range first."""
    a, b, scale_b, zero_b, bias = (*inputs, None, None)[:5]
    bytes_, scale, zero = (c.emit(e) for e in QUANTIZE["DynamicQuantizeLinear"](c, [a], {}))
    return _matmul_to_float(c, [bytes_, b, scale, scale_b, zero, zero_b, bias], {})


CONVERTERS: dict[str, Converter] = {
    "com.microsoft.DequantizeLinear": QUANTIZE["DequantizeLinear"],
    "com.microsoft.DynamicQuantizeMatMul": _dynamic_matmul,
    "com.microsoft.MatMulIntegerToFloat": _matmul_to_float,
    "com.microsoft.QGemm": _gemm,
    "com.microsoft.QLinearAdd": _binary(R.add),
    "com.microsoft.QLinearAveragePool": _between(pool.CONVERTERS["AveragePool"]),
    "com.microsoft.QLinearConcat": _concat,
    "com.microsoft.QLinearGlobalAveragePool": _between(pool.CONVERTERS["GlobalAveragePool"]),
    "com.microsoft.QLinearLeakyRelu": _between(activation.CONVERTERS["LeakyRelu"]),
    "com.microsoft.QLinearMul": _binary(R.multiply),
    "com.microsoft.QLinearSigmoid": _between(activation.CONVERTERS["Sigmoid"]),
    "com.microsoft.QLinearSoftmax": _between(_softmax),
    "com.microsoft.QLinearWhere": _where,
    "com.microsoft.QuantizeLinear": QUANTIZE["QuantizeLinear"],
}
