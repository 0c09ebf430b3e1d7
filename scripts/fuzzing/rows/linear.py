"""Matrix products, attention and recurrent cells."""

from __future__ import annotations

import numpy as np

from ..drawing import RejectedError
from ..growth import Growth
from ..values import Value
from .row import Row, axis_of, meets, partner


def _matmul(g: Growth) -> None:
    a = g.pick(("float32", "float32", "float64", "int32"), range(1, 6))
    depth = a.fixed(-1)
    if depth is not None and g.flip(0.6):
        shape = [depth] if g.flip(0.1) else [depth, g.one_of([1, 2, 5, 8, 17])]
        g.op("MatMul", a, g.const(g.draw(a.dtype, shape)))
        return
    g.op("MatMul", a, _right(g, a))


def _right(g: Growth, a: Value) -> Value:
    """A run-time right operand."""
    old = [
        v
        for v in g.visible
        if v.dtype == a.dtype
        and v.rank in (2, a.rank)
        and v.rank > 1
        and v.dims[-2] == a.dims[-1]
        and all(x == y for x, y in zip(v.dims[:-2][::-1], a.dims[:-2][::-1], strict=False))
    ]
    if old and g.flip(0.4):
        return g.one_of(old)
    if a.rank < 2:
        raise RejectedError
    other = a if g.flip(0.6) else g.like(a)
    order = list(range(a.rank))
    order[-2:] = order[:-3:-1]
    return g.op("Transpose", other, perm=order)


def _gemm(g: Growth) -> None:
    a = g.pick(("float32",), (2,))
    flip_a, flip_b = g.integer(0, 1), g.integer(0, 1)
    depth = a.fixed(0 if flip_a else 1)
    if depth is None:
        other = g.like(a)
        columns = other.dims[1 if flip_a else 0]
        b = other if flip_a else g.op("Transpose", other, perm=[1, 0])
        if flip_b:
            b = g.op("Transpose", b, perm=[1, 0])
        del columns
        c = []
    else:
        width = g.one_of([1, 3, 8])
        b = g.const(g.draw("float32", [width, depth] if flip_b else [depth, width]))
        c = [g.const(g.draw("float32", g.one_of([[width], [1], [1, width], []])))]
    attributes = {"alpha": g.one_of([1.0, 0.5]), "beta": g.one_of([1.0, 2.0, 0.0])}
    g.op("Gemm", a, b, *(c if g.flip(0.7) else []), transA=flip_a, transB=flip_b, **attributes)


_EQUATIONS = {
    1: ["i->i", "i->", "i,i->", "i,j->ij"],
    2: ["ij->ji", "ij->i", "ij,ij->ij", "ij,kj->ik", "ij,ij->j", "ij,ij->"],
    3: ["bij->bji", "bij,bkj->bik", "bij->b", "bij,bij->bi", "...ij->...ji", "bij,bik->bjk"],
    4: ["bhid,bhjd->bhij", "bhid->bihd", "abij,abij->abi", "...ij,...ij->...i"],
}


def _einsum(g: Growth) -> None:
    value = g.pick(("float32",), range(1, 5))
    equation = g.one_of(_EQUATIONS[value.rank])
    operands = equation.split("->")[0].split(",")
    others = [g.like(value) if g.flip(0.4) else value for _ in operands[1:]]
    g.op("Einsum", value, *others, equation=equation)


def _attention(g: Growth) -> None:
    """Scores, scale, mask, softmax and weighted sum, spelled out."""
    query = g.pick(("float32",), (3, 4))
    keys = query if g.flip(0.4) else g.like(query)
    values = keys if g.flip(0.4) else g.like(keys)
    order = list(range(query.rank))
    order[-2:] = order[:-3:-1]
    scores = g.op("MatMul", query, g.op("Transpose", keys, perm=order))
    if g.flip():
        scale = g.const(0.35, "float32")
        scores = g.op("Mul", scores, scale) if g.flip() else g.op("Div", scores, scale)
    if g.flip(0.3):
        mask = g.like(scores, "bool")
        scores = g.op("Where", mask, scores, g.const(-1000.0, "float32"))
    elif g.flip(0.3):
        scores = g.op("Add", scores, partner(g, scores))
    g.op("MatMul", g.op("Softmax", scores, axis=-1), values)


def _attention_operator(g: Growth) -> None:
    query = g.pick(("float32",), (4,))
    keys, values = (query if g.flip(0.3) else g.like(query) for _ in range(2))
    g.op("Attention", query, keys, values, is_causal=g.integer(0, 1))


def _recurrent(g: Growth, op_type: str, gates: int) -> None:
    old = [v for v in g.visible if v.dtype == "float32" and v.rank == 3 and v.fixed(2) is not None]
    if old and g.flip(0.7):
        sequence = g.one_of(old)
    else:
        sequence = g.draw_input("float32", [*g.draw_dims(2), g.one_of([1, 3, 4])])
    width, hidden = sequence.fixed(2), g.one_of([1, 2, 5])
    assert width is not None
    direction = g.one_of(["forward", "reverse", "bidirectional"])
    ways = 2 if direction == "bidirectional" else 1
    weights = [
        g.const(g.draw("float32", [ways, gates * hidden, size]) / 2) for size in (width, hidden)
    ]
    rest: list[Value | None] = []
    if g.flip():
        rest.append(g.const(g.draw("float32", [ways, 2 * gates * hidden]) / 2))
    attributes = {"linear_before_reset": g.integer(0, 1)} if op_type == "GRU" else {}
    if g.flip(0.3) and min(sequence.dims[1]):
        rest = [*rest, *([None] if not rest else [])]
        rest.append(_lengths(g, sequence))
    g.ops(
        op_type,
        g.integer(1, 3 if op_type == "LSTM" else 2),
        sequence,
        *weights,
        *rest,
        hidden_size=hidden,
        direction=direction,
        **attributes,
    )


def _lengths(g: Growth, sequence: Value) -> Value:
    arrays = [
        None if a is None else g.rng.integers(min(1, a.shape[0]), a.shape[0] + 1, a.shape[1])
        for a in sequence.exact
    ]
    return g.given([None if a is None else a.astype("int32") for a in arrays])


def _outer(g: Growth) -> None:
    """A product with a bias and an activation, as networks have them."""
    value = g.pick(("float32",), range(2, 5), lambda v: v.fixed(-1) is not None)
    depth, width = value.fixed(-1), g.one_of([1, 4, 16, 19])
    product = g.op("MatMul", value, g.const(g.draw("float32", [depth or 0, width])))
    total = g.op("Add", product, g.const(g.draw("float32", [width])))
    active = g.op(g.one_of(["Relu", "Tanh", "Sigmoid"]), total)
    if meets(g, active, value) and active.rank == value.rank and g.flip():
        g.op("Add", active, value)


def _triangle(g: Growth) -> None:
    value = g.pick(("float32", "int64"), range(2, 5))
    rest = [g.const(g.integer(-3, 3), "int64")] if g.flip(0.7) else []
    g.op("Trilu", value, *rest, upper=g.integer(0, 1))


def _reverse(g: Growth) -> None:
    value = g.pick(("float32", "int64"), range(2, 5))
    batch = g.integer(0, 1)
    lengths = [
        None
        if a is None
        else g.rng.integers(min(1, a.shape[1 - batch]), a.shape[1 - batch] + 1, a.shape[batch])
        for a in value.exact
    ]
    given = g.given([None if a is None else np.asarray(a, "int64") for a in lengths])
    g.op("ReverseSequence", value, given, batch_axis=batch, time_axis=1 - batch)


def _hard(g: Growth) -> None:
    value = g.pick(("float32",), range(1, 4))
    g.op("Softmax", g.op("Mul", value, g.const(2.0, "float32")), axis=axis_of(g, value))


ROWS = [
    Row("MatMul", _matmul, 3),
    Row("MatMul+Add", _outer, 1.5),
    Row("Gemm", _gemm, 1.5),
    Row("Einsum", _einsum, 1),
    Row("MatMul+Softmax+MatMul", _attention, 1.5),
    Row("Mul+Softmax", _hard, 0.3),
    Row("Attention", _attention_operator, 0.2, 23),
    Row("LSTM", lambda g: _recurrent(g, "LSTM", 4), 0.4),
    Row("GRU", lambda g: _recurrent(g, "GRU", 3), 0.4),
    Row("RNN", lambda g: _recurrent(g, "RNN", 1), 0.3),
    Row("Trilu", _triangle, 0.5),
    Row("ReverseSequence", _reverse, 0.4),
]
