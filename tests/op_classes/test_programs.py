"""Random programs of shape arithmetic: what the rows say of each step against NumPy's numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax
from tvm.relax import op as R

from tests.op_classes.harness import (
    Env,
    arithmetic,
    contradicts,
    envs,
    evaluate_all,
    facts_of,
    h,
    k,
    m,
    n,
    typed,
)
from tvm_sod2.op_classes import row
from tvm_sod2.op_classes.fact import entries

_ENVS = envs(3, 1, 20)
_LARGEST = 1 << 16
"""Numbers stay below, so that float32 holds those that are made from them."""


@dataclass
class Value:
    """A vector: what the rows say of it, and its numbers at each env."""

    said: np.ndarray | None
    numbers: list[np.ndarray]

    @property
    def dtype(self) -> str:
        return str(self.numbers[0].dtype)

    def __len__(self) -> int:
        return len(self.numbers[0])


def _apply(call: Callable[..., Any], numpy: Callable[..., Any], *operands: Value) -> Value:
    """One operator on vectors, by its row and by NumPy."""
    variables = [
        relax.Var(f"x{i}", relax.TensorType([len(v)], v.dtype)) for i, v in enumerate(operands)
    ]
    expr = typed(call(*variables))
    known = {var: v.said for var, v in zip(variables, operands, strict=True) if v.said is not None}
    transfer = row(expr.op.name).value
    assert transfer is not None
    said = transfer(expr, facts_of(expr, known), arithmetic())
    numbers = [np.asarray(numpy(*(v.numbers[i] for v in operands))) for i in range(len(_ENVS))]
    return Value(said if isinstance(said, np.ndarray) else None, numbers)


def _pair(data: st.DataObject, values: list[Value]) -> tuple[Value, Value]:
    """Two vectors of integers of one length, or one of them of length 1."""
    a = data.draw(st.sampled_from(values))
    return a, data.draw(st.sampled_from([v for v in values if len(v) in (1, len(a))]))


def _binary(call: Callable[..., Any], numpy: Callable[..., Any]) -> Callable[..., Value]:
    return lambda data, values: _apply(call, numpy, *_pair(data, values))


def _by_constant(call: Callable[..., Any], numpy: Callable[..., Any]) -> Callable[..., Value]:
    def step(data: st.DataObject, values: list[Value]) -> Value:
        number = data.draw(st.integers(1, 7))
        constant = relax.const([number], "int64")
        return _apply(
            lambda x: call(x, constant),
            lambda a: numpy(a, number),
            data.draw(st.sampled_from(values)),
        )

    return step


def _scaled(data: st.DataObject, values: list[Value]) -> Value:
    """Cast to float, times or over a scale, rounded, and cast back."""
    scale = np.float32(data.draw(st.sampled_from((0.5, 1.5, 0.25, 2.0, 1.1, 3.0))))
    value = data.draw(st.sampled_from(values))
    value = _apply(lambda x: R.astype(x, "float32"), lambda a: a.astype("float32"), value)
    constant = relax.const(np.array([scale]), "float32")
    by = data.draw(st.sampled_from(((R.multiply, np.multiply), (R.divide, np.divide))))
    value = _apply(lambda x: by[0](x, constant), lambda a: by[1](a, scale), value)
    to = data.draw(st.sampled_from(((R.floor, np.floor), (R.ceil, np.ceil), (R.trunc, np.trunc))))
    value = _apply(*to, value)
    return _apply(lambda x: R.astype(x, "int64"), lambda a: a.astype("int64"), value)


def _where(data: st.DataObject, values: list[Value]) -> Value:
    a, b = _pair(data, values)
    compare = data.draw(
        st.sampled_from(
            ((R.less, np.less), (R.equal, np.equal), (R.greater_equal, np.greater_equal))
        )
    )
    condition = _apply(*compare, a, b)
    return _apply(R.where, np.where, condition, a, b)


def _concat(data: st.DataObject, values: list[Value]) -> Value:
    a, b = (data.draw(st.sampled_from(values)) for _ in range(2))
    variables = [
        relax.Var(f"x{i}", relax.TensorType([len(v)], "int64")) for i, v in enumerate((a, b))
    ]
    call = typed(R.concat(variables, 0))
    known = {var: v.said for var, v in zip(variables, (a, b), strict=True) if v.said is not None}
    transfer = row("relax.concat").value
    assert transfer is not None
    facts = facts_of(call, known)
    joined = [np.concatenate(pair) for pair in zip(a.numbers, b.numbers, strict=True)]
    said = transfer(call, facts, arithmetic())
    return Value(said if isinstance(said, np.ndarray) else None, joined)


def _slice(data: st.DataObject, values: list[Value]) -> Value:
    value = data.draw(st.sampled_from(values))
    begin = data.draw(st.integers(0, len(value) - 1))
    end = data.draw(st.integers(begin + 1, len(value)))
    return _apply(lambda x: R.strided_slice(x, [0], [begin], [end]), lambda a: a[begin:end], value)


def _take(data: st.DataObject, values: list[Value]) -> Value:
    value = data.draw(st.sampled_from(values))
    places = data.draw(st.lists(st.integers(0, len(value) - 1), min_size=1, max_size=4))
    index = relax.const(places, "int64")
    return _apply(lambda x: R.take(x, index, 0), lambda a: a[places], value)


def _unary(call: Callable[..., Any], numpy: Callable[..., Any]) -> Callable[..., Value]:
    return lambda data, values: _apply(call, numpy, data.draw(st.sampled_from(values)))


_STEPS: list[Callable[[st.DataObject, list[Value]], Value]] = [
    _binary(R.add, np.add),
    _binary(R.subtract, np.subtract),
    _binary(R.multiply, np.multiply),
    _binary(R.maximum, np.maximum),
    _binary(R.minimum, np.minimum),
    _by_constant(R.floor_divide, np.floor_divide),
    _by_constant(R.floor_mod, np.mod),
    _by_constant(R.divide, lambda a, b: np.trunc(a / b).astype("int64")),
    _unary(R.abs, np.abs),
    _unary(R.negative, np.negative),
    _unary(lambda x: R.flip(x, 0), lambda a: a[::-1]),
    _unary(lambda x: R.cumsum(x, 0), np.cumsum),
    _unary(lambda x: R.sum(x, [0], True), lambda a: a.sum(keepdims=True)),
    _unary(lambda x: R.max(x, [0], True), lambda a: a.max(keepdims=True)),
    _scaled,
    _where,
    _concat,
    _slice,
    _take,
]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_program_contradicts_numpy(data: st.DataObject) -> None:
    start = entries([n, m, k, h, 3])
    values = [Value(start, [evaluate_all(start, env).astype("int64") for env in _ENVS])]
    for _ in range(data.draw(st.integers(1, 8))):
        value = data.draw(st.sampled_from(_STEPS))(data, values)
        assert not _contradicted(value)
        small = all((np.abs(numbers) < _LARGEST).all() for numbers in value.numbers)
        if small and 0 < len(value) <= 8:
            values.append(value)


def _contradicted(value: Value) -> bool:
    if value.said is None:
        return False
    pairs: list[tuple[Env, np.ndarray]] = list(zip(_ENVS, value.numbers, strict=True))
    return any(contradicts(evaluate_all(value.said, env), numbers) for env, numbers in pairs)
