"""Attention and quantised LSTM (domain com.microsoft) that ONNX Runtime's optimiser writes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter, Dim
from tvm_sod2.frontend.converters.contrib_quantised import CONVERTERS as CONTRIB
from tvm_sod2.frontend.converters.matmul import matmul
from tvm_sod2.frontend.converters.quantize import CONVERTERS as QUANTIZE
from tvm_sod2.frontend.converters.recurrent import recurrent
from tvm_sod2.frontend.dims import expr, product, simplify

Attrs = dict[str, Any]
Inputs = list[Any]


def _attention(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr]:
    """softmax(q k^T * scale + masks) v of heads, all three from one product of x."""
    x, weights, bias, mask, past, summand, filled = (*inputs, *[None] * 7)[:7]
    if filled is not None:
        raise c.error("caches that are shared cannot be imported")
    projected = matmul(c, x, weights)
    if bias is not None:
        projected = c.broadcast(R.add, projected, bias)
    return _of_projected(c, projected, mask, past, summand, attrs)


def _quantised_attention(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr]:
    """The same with an exact product of bytes."""
    x, weights, bias, scale, scales, mask, zero, zeros, past = (*inputs, *[None] * 4)[:9]
    product_ = CONTRIB["com.microsoft.MatMulIntegerToFloat"]
    projected = c.emit(product_(c, [x, weights, scale, scales, zero, zeros, bias], {}))
    return _of_projected(c, projected, mask, past, None, attrs)


def _of_projected(
    c: Context,
    projected: Expr,
    mask: Expr | None,
    past: Expr | None,
    summand: Expr | None,
    attrs: Attrs,
) -> list[Expr]:
    if attrs.get("past_present_share_buffer") or attrs.get("do_rotary"):
        raise c.error("caches that are shared and rotary positions cannot be imported")
    q, k, v = _heads(c, projected, attrs["num_heads"], attrs)
    if past is not None:
        before = [c.take(past, c.ints(i)) for i in range(2)]
        k, v = (c.emit(R.concat(pair, 2)) for pair in zip(before, (k, v), strict=True))
    y = attended(c, q, k, v, masks(c, q, k, mask, attrs, summand), attrs)
    present = len(c.node.output) > 1 and c.node.output[1]
    return [y, c.emit(R.stack([k, v], 0))] if present else [y]


def attended(c: Context, q: Expr, k: Expr, v: Expr, summands: list[Expr], attrs: Attrs) -> Expr:
    """Return (rows, length, heads * size) of heads (rows, heads, length, size)."""
    scale = attrs.get("scale") or 1 / math.sqrt(c.dims(q)[3])
    scores = matmul(c, q, c.emit(R.permute_dims(k, [0, 1, 3, 2])))
    scores = c.emit(R.multiply(scores, c.scalar(scale, scores)))
    for part in summands:
        scores = c.broadcast(R.add, scores, c.astype(part, c.dtype(scores)))
    return joined(c, matmul(c, c.emit(R.nn.softmax(scores, 3)), v))


def joined(c: Context, y: Expr) -> Expr:
    """Return (rows, length, heads * size) of (rows, heads, length, size)."""
    y = c.emit(R.permute_dims(y, [0, 2, 1, 3]))
    rows, length, *rest = c.dims(y)
    return c.reshape(y, [rows, length, product(rest)])


def masks(
    c: Context, q: Expr, k: Expr, mask: Expr | None, attrs: Attrs, summand: Expr | None
) -> list[Expr]:
    """Return what is added to the scores of queries and keys, each (rows, heads, length, size)."""
    (rows, _, length, _), total = c.dims(q), c.dims(k)[2]
    found = (
        _mask(c, mask, [rows, length, total], attrs.get("mask_filter_value", -10000.0)),
        _causal(c, length, total) if attrs.get("unidirectional") else None,
        summand,
    )
    return [part for part in found if part is not None]


def _heads(c: Context, projected: Expr, heads: int, attrs: Attrs) -> list[Expr]:
    """Return queries, keys and values, each (rows, heads, length, size)."""
    rows, length, width = c.dims(projected)
    sizes = attrs.get("qkv_hidden_sizes") or [width // 3] * 3
    if not isinstance(width, int) or sum(sizes) != width or any(size % heads for size in sizes):
        raise c.error(f"{width} columns cannot be shared by {heads} heads of queries, keys, values")
    ends = np.cumsum(sizes).tolist()
    parts = c.emit(R.split(projected, ends[:2], 2))
    shared = [
        c.reshape(c.emit(relax.TupleGetItem(parts, i)), [rows, length, heads, size // heads])
        for i, size in enumerate(sizes)
    ]
    return [c.emit(R.permute_dims(part, [0, 2, 1, 3])) for part in shared]


def _mask(c: Context, mask: Expr | None, dims: list[Dim], hidden: float) -> Expr | None:
    """Return what is added to the scores: 0 where the mask shows a key, else ``hidden``."""
    if mask is None:
        return None
    rows, length, total = dims
    if c.rank(mask) == 1:
        mask = c.equate(mask, [rows])
        keys = c.reshape(c.iota(total), [1, total])
        shown = c.emit(R.less(keys, c.reshape(c.astype(mask, "int64"), [rows, 1])))
        mask = c.astype(shown, "int32")
    expected = {2: [rows, total], 3: [rows, length, total]}.get(c.rank(mask))
    if expected is None:
        raise c.error(f"a mask of rank {c.rank(mask)} cannot be imported")
    mask = c.astype(c.equate(mask, expected), "float32")
    mask = c.reshape(mask, [rows, 1, length if c.rank(mask) == 3 else 1, total])
    missing = c.emit(R.subtract(const(1.0, "float32"), mask))
    return c.emit(R.multiply(missing, const(hidden, "float32")))


def _causal(c: Context, length: Dim, total: Dim) -> Expr:
    """Return (1, 1, length, total): the lowest number where a key comes after its query."""
    ahead = simplify(expr(total) - expr(length))
    shift = c.emit(R.shape_to_tensor(relax.ShapeExpr([expr(ahead)])))
    last = c.emit(R.add(c.reshape(c.iota(length), [length, 1]), c.reshape(shift, [1, 1])))
    later = c.emit(R.greater(c.reshape(c.iota(total), [1, total]), last))
    lowest = const(np.finfo("float32").min, "float32")
    masked = c.emit(R.where(later, lowest, const(0.0, "float32")))
    return c.reshape(masked, [1, 1, length, total])


def _dynamic_quantize_lstm(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr | None]:
    """An LSTM of dequantised weights on inputs and states that are rounded to bytes of their range,
    the inputs of all steps at once and the states at each."""
    x, w, r, b, lengths, h, state, p, *quantisation = inputs
    weights = [
        _gates_first(c, values, *quantisation[2 * i : 2 * i + 2]) for i, values in enumerate((w, r))
    ]
    quantised = QUANTIZE["DynamicQuantizeLinear"](c, [x], {})
    x = c.emit(QUANTIZE["DequantizeLinear"](c, quantised, {}))
    return recurrent(c, [x, *weights, b, lengths, h, state, p], attrs, "LSTM", rounds=True)


def _gates_first(c: Context, weights: Expr, scale: Expr, zero: Expr) -> Expr:
    """Return (directions, gates, inputs) as floats of (directions, inputs, gates) as bytes."""
    directions = c.dims(weights)[0]
    scale, zero = (
        c.reshape(value, [directions, 1, c.dims(value)[1] if c.rank(value) > 1 else 1])
        for value in (scale, zero)
    )
    steps = c.broadcast(R.subtract, c.astype(weights, "int32"), c.astype(zero, "int32"))
    floats = c.broadcast(R.multiply, c.astype(steps, "float32"), scale)
    return c.emit(R.permute_dims(floats, [0, 2, 1]))


CONVERTERS: dict[str, Converter] = {
    "com.microsoft.Attention": _attention,
    "com.microsoft.DynamicQuantizeLSTM": _dynamic_quantize_lstm,
    "com.microsoft.QAttention": _quantised_attention,
}
