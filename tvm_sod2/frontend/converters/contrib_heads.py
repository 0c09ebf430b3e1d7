"""Attention on projected heads (domain com.microsoft): with caches, rotations and shared keys.

Source: the operators' schemas in ONNX Runtime and what its CPU kernels compute.
"""

from __future__ import annotations

import math
from typing import Any

from tvm import relax, te, tirx
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter, Dim
from tvm_sod2.frontend.converters.contrib_attention import attended, joined, masks
from tvm_sod2.frontend.converters.kernels import emit_te
from tvm_sod2.frontend.converters.matmul import matmul
from tvm_sod2.frontend.dims import expr, maximum

Attrs = dict[str, Any]
Inputs = list[Any]


def _multi_head(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr | None]:
    """Attention of separate queries, keys and values, each (rows, length, heads * size)."""
    query, key, value, bias, mask, summand, past_key, past_value = (*inputs, *[None] * 8)[:8]
    if any(x is not None for x in inputs[8:]):
        raise c.error("past_sequence_length and cache_indirection cannot be imported")
    if key is None or value is None or c.rank(query) != 3 or c.rank(key) == 5:
        raise c.error("packed queries, keys and values cannot be imported; give three inputs")
    heads = attrs["num_heads"]
    crossed = c.rank(key) == 4
    biases: list[Expr | None] = [None] * 3
    if bias is not None:
        biases = list(_cut(c, bias, 0, [c.dims(x)[-1] for x in (query, key, value)]))
    q = _split(c, _plus(c, query, biases[0]), heads)
    k, v = key, value
    if not crossed:
        k, v = (
            _split(c, _plus(c, x, b), heads) for x, b in zip((key, value), biases[1:], strict=True)
        )
    if past_key is not None:
        k, v = (c.emit(R.concat(pair, 2)) for pair in ((past_key, k), (past_value, v)))
    y = attended(c, q, k, v, masks(c, q, k, mask, attrs, summand), attrs)
    return [y, k, v]


def _plus(c: Context, x: Expr, bias: Expr | None) -> Expr:
    return x if bias is None else c.broadcast(R.add, x, bias)


def _cut(c: Context, x: Expr, axis: int, widths: list[Dim]) -> list[Expr]:
    """Return the parts of these widths along an axis."""
    if not all(isinstance(width, int) for width in widths):
        raise c.error(f"its heads have widths {widths}; numbers are needed")
    ends = [sum(widths[: i + 1]) for i in range(len(widths) - 1)]
    parts = c.emit(R.split(x, ends, axis))
    return [c.emit(relax.TupleGetItem(parts, i)) for i in range(len(widths))]


def _split(c: Context, x: Expr, heads: int) -> Expr:
    """Return (rows, heads, length, size) of (rows, length, heads * size)."""
    rows, length, width = c.dims(x)
    if not isinstance(width, int) or width % heads:
        raise c.error(f"{width} columns cannot be shared by {heads} heads")
    x = c.reshape(x, [rows, length, heads, width // heads])
    return c.emit(R.permute_dims(x, [0, 2, 1, 3]))


def _rotary(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """Turn pairs of entries of every head by angles that grow with the position."""
    x, places, cosines, sines = inputs
    if attrs.get("scale", 1.0) != 1.0:
        raise c.error(f"a scale of {attrs['scale']} cannot be imported")
    heads, flat = attrs.get("num_heads", 0), c.rank(x) == 3
    if flat:
        rows, length, width = c.dims(x)
        whole = width // heads if heads else c.dims(cosines)[1] * 2
        x = c.reshape(x, [rows, length, width // whole, whole])
        x = c.emit(R.permute_dims(x, [0, 2, 1, 3]))
    rows, count, length, whole = c.dims(x)
    if c.rank(places) == 1:
        places = c.broadcast(
            R.add, c.reshape(places, [1, 1]), c.reshape(c.iota(length), [1, length])
        )
    y = _turned(c, x, places, cosines, sines, bool(attrs.get("interleaved")))
    if flat:
        y = c.reshape(c.emit(R.permute_dims(y, [0, 2, 1, 3])), [rows, length, count * whole])
    return y


def _turned(
    c: Context, x: Expr, places: Expr, cosines: Expr, sines: Expr, interleaved: bool
) -> Expr:
    """Return x (rows, heads, length, size) turned by the angles at places (rows or 1, length).

    A pair is an entry and the one half of the turned part behind it, or, interleaved, the next one.
    Tables are (positions, half of the turned part); what is left of a head stays as it is.
    """
    rows, heads, length, size = c.dims(x)
    half = c.dims(cosines)[1]
    if not isinstance(half, int) or not isinstance(size, int) or 2 * half > size:
        raise c.error(f"heads of size {size} cannot be turned by tables of width {half}")
    cosine, sine = (
        c.reshape(table, [c.dims(table)[0], 1, length, half])
        for table in (c.take(values, places) for values in (cosines, sines))
    )
    turned, *rest = _cut(c, x, 3, [2 * half, size - 2 * half]) if size > 2 * half else [x]
    pairs = [rows, heads, length, *((half, 2) if interleaved else (2, half))]
    axis = 4 if interleaved else 3
    both = c.emit(R.split(c.reshape(turned, pairs), 2, axis))
    a, b = (
        c.reshape(c.emit(relax.TupleGetItem(both, i)), [rows, heads, length, half])
        for i in range(2)
    )
    real = c.emit(R.subtract(c.broadcast(R.multiply, cosine, a), c.broadcast(R.multiply, sine, b)))
    imaginary = c.emit(R.add(c.broadcast(R.multiply, sine, a), c.broadcast(R.multiply, cosine, b)))
    y = c.reshape(c.emit(R.stack([real, imaginary], axis)), [rows, heads, length, 2 * half])
    return c.emit(R.concat([y, *rest], 3)) if rest else y


_GROUPED_OPTIONS = ("qk_output", "sliding_window_cache", "kv_cache_bit_width")


def _grouped(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr]:
    """Causal attention whose keys serve several heads of queries each, over a cache of past ones.

    `lengths` are how many keys each row has, less one; the new ones come behind the row's others.
    """
    query, key, value, past_key, past_value, lengths, total, *tables = (*inputs, *[None] * 16)[:16]
    cosines, sines, places, summand, sink, *rest = tables
    if any(x is not None for x in rest) or any(attrs.get(name) for name in _GROUPED_OPTIONS):
        raise c.error("caches of bytes or of a window and normalised heads cannot be imported")
    if not attrs.get("causal", 1):
        raise c.error("causal = 0 cannot be imported")
    heads, shared = attrs["num_heads"], attrs["kv_num_heads"]
    if key is None:
        size = c.dims(query)[2] // (heads + 2 * shared)
        query, key, value = _cut(c, query, 2, [heads * size, shared * size, shared * size])
    q, k, v = (
        _split(c, x, n) for x, n in zip((query, key, value), (heads, shared, shared), strict=True)
    )
    rows, _, length, size = c.dims(q)
    before = _past_lengths(c, lengths, total, rows, length)
    if attrs.get("do_rotary"):
        if places is None:
            steps = c.reshape(c.iota(length), [1, length])
            places = c.broadcast(R.add, c.reshape(before, [rows, 1]), steps)
        interleaved = bool(attrs.get("rotary_interleaved"))
        q, k = (_turned(c, x, places, cosines, sines, interleaved) for x in (q, k))
    (whole,) = c.symbols_of(c.reshape(total, [1]), 1)
    if past_key is not None:
        whole = maximum(whole, c.dims(past_key)[2])
    k, v = (
        _appended(c, past, new, before, whole) for past, new in ((past_key, k), (past_value, v))
    )
    # One product for all heads that share keys: (rows, shared, heads of one, length, size).
    group = heads // shared
    grouped = c.reshape(q, [rows, shared, group, length, size])
    keys, values = (c.reshape(x, [rows, shared, 1, whole, size]) for x in (k, v))
    scores = matmul(c, grouped, c.emit(R.permute_dims(keys, [0, 1, 2, 4, 3])))
    scale = attrs.get("scale") or 1 / math.sqrt(size)
    scores = c.emit(R.multiply(scores, c.scalar(scale, scores)))
    cap = attrs.get("softcap", 0.0)
    if cap:
        scores = c.emit(R.divide(scores, c.scalar(cap, scores)))
        scores = c.emit(R.multiply(c.emit(R.tanh(scores)), c.scalar(cap, scores)))
    if summand is not None:
        b, h, s, t = c.dims(summand)
        apart = [b, shared, group, s, t] if h == heads else [b, 1, 1, s, t]
        scores = c.broadcast(R.add, scores, c.reshape(summand, apart))
    shown = _shown(c, before, rows, length, whole, attrs.get("local_window_size", -1))
    scores = c.broadcast(R.where, shown, scores, c.scalar(-math.inf, scores))
    if sink is not None or attrs.get("smooth_softmax", 0) > 0:
        weights = _with_sink(c, scores, sink, shared, group)
    else:
        weights = c.emit(R.nn.softmax(scores, 4))
    y = c.reshape(matmul(c, weights, values), [rows, heads, length, size])
    return [joined(c, y), k, v]


def _past_lengths(c: Context, lengths: Expr, total: Expr, rows: Dim, length: Dim) -> Expr:
    """Return how many keys each row had before; none when the new ones are all there are."""
    lengths = c.reshape(c.astype(lengths, "int64"), [rows])
    new = c.emit(R.shape_to_tensor(relax.ShapeExpr([expr(length)])))
    first = c.emit(R.equal(c.reshape(c.astype(total, "int64"), [1]), new))
    last = c.broadcast(R.subtract, c.emit(R.add(lengths, c.ints(1))), new)
    return c.broadcast(R.where, first, c.ints(0), last)


def _appended(c: Context, past: Expr | None, new: Expr, before: Expr, whole: Dim) -> Expr:
    """Return (rows, heads, whole, size): each row's past, the new ones behind it, then zeros."""
    length = c.dims(new)[2]
    zero = tirx.const(0, c.dtype(new))

    def compute(new: te.Tensor, before: te.Tensor, dims: Any, *past: te.Tensor) -> te.Tensor:
        count, end = dims

        def element(b: Any, h: Any, j: Any, e: Any) -> Any:
            at = j - before(b)
            fresh = tirx.if_then_else(
                tirx.all(at >= 0, at < count),
                new(b, h, tirx.max(tirx.min(at, count - 1), 0), e),
                zero,
            )
            if not past:
                return fresh
            old = past[0]
            inside = tirx.max(tirx.min(j, old.shape[2] - 1), 0)
            return tirx.if_then_else(
                tirx.all(at < 0, j < old.shape[2]), old(b, h, inside, e), fresh
            )

        return te.compute((new.shape[0], new.shape[1], end, new.shape[3]), element, name="cache")

    more = [] if past is None else [past]
    return emit_te(c, compute, new, before, [expr(length), expr(whole)], *more)


def _shown(c: Context, before: Expr, rows: Dim, length: Dim, whole: Dim, window: int) -> Expr:
    """Return which keys a query sees: those up to its own place, the last `window` of them."""
    keys = c.reshape(c.iota(whole), [1, 1, 1, 1, whole])
    steps = c.reshape(c.iota(length), [1, 1, 1, length, 1])
    place = c.broadcast(R.add, c.reshape(before, [rows, 1, 1, 1, 1]), steps)
    shown = c.broadcast(R.less_equal, keys, place)
    if window < 0:
        return shown
    first = c.emit(R.subtract(place, c.ints(window)))
    return c.emit(R.logical_and(shown, c.broadcast(R.greater, keys, first)))


def _with_sink(c: Context, scores: Expr, sink: Expr | None, shared: int, group: int) -> Expr:
    """Softmax with one more summand in the denominator: exp(sink of the head), or exp(0)."""
    extra = c.scalar(0.0, scores) if sink is None else c.reshape(sink, [1, shared, group, 1, 1])
    most = c.broadcast(R.maximum, c.emit(R.max(scores, [4], True)), extra)
    powers = c.emit(R.exp(c.broadcast(R.subtract, scores, most)))
    rest = c.emit(R.exp(c.broadcast(R.subtract, extra, most)))
    total = c.broadcast(R.add, c.emit(R.sum(powers, [4], True)), rest)
    return c.broadcast(R.divide, powers, total)


CONVERTERS: dict[str, Converter] = {
    "com.microsoft.GroupQueryAttention": _grouped,
    "com.microsoft.MultiHeadAttention": _multi_head,
    "com.microsoft.RotaryEmbedding": _rotary,
}
