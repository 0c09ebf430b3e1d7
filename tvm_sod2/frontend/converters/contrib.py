"""Fused operators (domain com.microsoft) that ONNX Runtime's optimiser writes into saved models."""

from __future__ import annotations

from typing import Any

from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters.matmul import matmul

Attrs = dict[str, Any]
Inputs = list[Any]


def _biased(c: Context, inputs: Inputs) -> Expr:
    x, bias = (*inputs, None)[:2]
    return x if bias is None else c.broadcast(R.add, x, bias)


def _gelu(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    return R.nn.gelu(_biased(c, inputs))


def _fast_gelu(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    return R.nn.gelu_tanh(_biased(c, inputs))


def _quick_gelu(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    scaled = c.emit(R.multiply(x, c.scalar(attrs.get("alpha", 1.702), x)))
    return R.multiply(x, c.emit(R.sigmoid(scaled)))


def _fused_matmul(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    if attrs.get("transBatchA") or attrs.get("transBatchB"):
        raise c.error("transposed batch axes (transBatchA, transBatchB) cannot be imported")
    a, b = (
        _transposed(c, x) if attrs.get(key) else x
        for x, key in zip(inputs, ("transA", "transB"), strict=True)
    )
    y = matmul(c, a, b)
    alpha = attrs.get("alpha", 1.0)
    return y if alpha == 1 else R.multiply(y, c.scalar(alpha, y))


def _transposed(c: Context, x: Expr) -> Expr:
    rank = c.rank(x)
    return x if rank < 2 else c.emit(R.permute_dims(x, [*range(rank - 2), rank - 1, rank - 2]))


def _normalised(c: Context, x: Expr, epsilon: float, centre: bool) -> tuple[Expr, Expr, Expr]:
    """Return x normalised over the last axis, its mean and 1 / deviation."""
    last = [c.rank(x) - 1]
    mean = c.emit(R.mean(x, last, True))
    centred = c.broadcast(R.subtract, x, mean) if centre else x
    variance = c.emit(R.mean(c.emit(R.multiply(centred, centred)), last, True))
    inverse = c.emit(R.rsqrt(c.emit(R.add(variance, c.scalar(epsilon, x)))))
    return c.broadcast(R.multiply, centred, inverse), mean, inverse


def _skip_norm(centre: bool) -> Converter:
    def converter(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr]:
        x, skip, gamma, *more = inputs
        more = [*more, None, None]
        beta, bias = more[:2] if centre else (None, more[0])
        total = c.broadcast(R.add, x, skip)
        if bias is not None:
            total = c.broadcast(R.add, total, bias)
        y, mean, inverse = _normalised(c, total, attrs.get("epsilon", 1e-12), centre)
        y = c.broadcast(R.multiply, y, gamma)
        if beta is not None:
            y = c.broadcast(R.add, y, beta)
        return [y, mean, inverse, total]

    return converter


CONVERTERS: dict[str, Converter] = {
    "com.microsoft.BiasGelu": _gelu,
    "com.microsoft.FastGelu": _fast_gelu,
    "com.microsoft.FusedMatMul": _fused_matmul,
    "com.microsoft.Gelu": _gelu,
    "com.microsoft.QuickGelu": _quick_gelu,
    "com.microsoft.SkipLayerNormalization": _skip_norm(True),
    "com.microsoft.SkipSimplifiedLayerNormalization": _skip_norm(False),
}
