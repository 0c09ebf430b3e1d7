"""Fused operators (domain com.microsoft) that ONNX Runtime's optimiser writes into saved models."""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters import activation, arithmetic, conv
from tvm_sod2.frontend.converters import matmul as products
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
    """alpha * (a @ b); a flag for an operand swaps its last two axes or moves its first there."""
    a, b = (
        _turned(c, x, bool(attrs.get(f"trans{side}")), bool(attrs.get(f"transBatch{side}")))
        for x, side in zip(inputs[:2], "AB", strict=True)
    )
    y = matmul(c, a, b)
    alpha = attrs.get("alpha", 1.0)
    return y if alpha == 1 else R.multiply(y, c.scalar(alpha, y))


def _turned(c: Context, x: Expr, swap: bool, batch: bool) -> Expr:
    rank = c.rank(x)
    order = list(range(rank))
    if batch and rank > 2:
        # (rows, batch..., columns) -> (batch..., rows, columns)
        order = [*order[1:-1], 0, order[-1]]
    if swap and rank > 1:
        order = [*order[:-2], order[-1], order[-2]]
    return x if order == list(range(rank)) else c.emit(R.permute_dims(x, order))


_ACTIVATIONS: dict[str, tuple[Converter, tuple[str, ...]]] = {
    "Elu": (activation.CONVERTERS["Elu"], ("alpha",)),
    "HardSigmoid": (activation.CONVERTERS["HardSigmoid"], ("alpha", "beta")),
    "LeakyRelu": (activation.CONVERTERS["LeakyRelu"], ("alpha",)),
    "Relu": (activation.CONVERTERS["Relu"], ()),
    "Sigmoid": (activation.CONVERTERS["Sigmoid"], ()),
    "Softplus": (activation.CONVERTERS["Softplus"], ()),
    "Softsign": (activation.CONVERTERS["Softsign"], ()),
    "Tanh": (arithmetic.CONVERTERS["Tanh"], ()),
    "ThresholdedRelu": (activation.CONVERTERS["ThresholdedRelu"], ("alpha",)),
}
"""Activations that are fused behind a product, and the names of their parameters."""


def _activated(c: Context, y: Expr, name: str, numbers: list[float]) -> Expr:
    y = c.emit(y)
    if not name:
        return y
    if name == "Clip" and len(numbers) == 2:
        return R.clip(y, *numbers)
    if name not in _ACTIVATIONS:
        raise c.error(f"the activation {name!r} cannot be imported")
    converter, keys = _ACTIVATIONS[name]
    return converter(c, [y], dict(zip(keys, numbers, strict=False)))


def _fused_conv(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """Activation of convolution + summand."""
    x, weight, *more = inputs
    bias, summand = (*more, None, None)[:2]
    y = c.emit(conv.CONVERTERS["Conv"](c, [x, weight, bias], attrs))
    if summand is not None:
        y = c.broadcast(R.add, y, summand)
    return _activated(c, y, attrs.get("activation", ""), attrs.get("activation_params", []))


def _fused_gemm(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    numbers = [
        attrs[f"activation_{key}"]
        for key in ("alpha", "beta", "gamma")
        if f"activation_{key}" in attrs
    ]
    y = products.CONVERTERS["Gemm"](c, inputs, attrs)
    return _activated(c, y, attrs.get("activation", ""), numbers)


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


def _embed_layer_norm(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr]:
    """Normalised sum of word, position and segment embeddings; lengths of the masks."""
    ids, segments, words, positions, kinds, gamma, beta, mask, places = (*inputs, None, None)[:9]
    rows, length = c.dims(ids)
    total = c.emit(R.take(words, c.astype(ids, "int64"), 0, mode="clip"))
    if places is None:
        here = c.take(positions, c.iota(length))
        here = c.reshape(here, [1, length, c.dims(positions)[1]])
    else:
        here = c.emit(R.take(positions, c.astype(places, "int64"), 0, mode="clip"))
    total = c.broadcast(R.add, total, here)
    if segments is not None:
        total = c.broadcast(R.add, total, c.take(kinds, c.astype(segments, "int64")))
    y, _, _ = _normalised(c, total, attrs.get("epsilon", 1e-12), centre=True)
    y = c.broadcast(R.add, c.broadcast(R.multiply, y, gamma), beta)
    if mask is None:
        counts = c.emit(R.broadcast_to(const(0, "int32"), relax.ShapeExpr([rows])))
    else:
        counts = c.emit(R.sum(c.astype(mask, "int32"), [1], False))
    return [y, counts, total]


CONVERTERS: dict[str, Converter] = {
    "com.microsoft.BiasGelu": _gelu,
    "com.microsoft.EmbedLayerNormalization": _embed_layer_norm,
    "com.microsoft.FastGelu": _fast_gelu,
    "com.microsoft.FusedConv": _fused_conv,
    "com.microsoft.FusedGemm": _fused_gemm,
    "com.microsoft.FusedMatMul": _fused_matmul,
    "com.microsoft.Gelu": _gelu,
    "com.microsoft.QuickGelu": _quick_gelu,
    "com.microsoft.SkipLayerNormalization": _skip_norm(True),
    "com.microsoft.SkipSimplifiedLayerNormalization": _skip_norm(False),
    "com.microsoft.TransposeMatMul": _fused_matmul,
}
