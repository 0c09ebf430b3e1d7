"""Elementwise operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..growth import Growth
from ..values import Value
from .row import ANY, FLOAT, INTEGER, SMALL, Row, bounded, meets, partner, positive


def _unary(
    name: str,
    dtypes: tuple[str, ...] = FLOAT,
    prepared: Callable[[Growth, Value], Value] = lambda g, value: value,
    weight: float = 0.5,
    since: int = 1,
    **attributes: Callable[[Growth], Any],
) -> Row:
    def add(g: Growth) -> None:
        value = prepared(g, g.pick(dtypes))
        drawn = {key: draw(g) for key, draw in attributes.items() if g.flip(0.7)}
        g.op(name, value, **drawn)

    return Row(name, add, weight, since)


def _number(low: float, high: float) -> Callable[[Growth], float]:
    return lambda g: float(g.rng.uniform(low, high))


def _binary(
    name: str,
    dtypes: tuple[str, ...],
    second: Callable[[Growth, Value], Value] = lambda g, value: value,
    first: Callable[[Growth, Value], Value] = lambda g, value: value,
    weight: float = 1.0,
    **attributes: Callable[[Growth], Any],
) -> Row:
    def add(g: Growth) -> None:
        a = g.pick(dtypes)
        b = second(g, partner(g, a))
        a = first(g, a)
        pair = (b, a) if g.flip() and second is first else (a, b)
        g.op(name, *pair, **{key: draw(g) for key, draw in attributes.items()})

    return Row(name, add, weight)


def _same(_g: Growth, value: Value) -> Value:
    return value


def _variadic(name: str, dtypes: tuple[str, ...]) -> Row:
    def add(g: Growth) -> None:
        first = g.pick(dtypes)
        g.op(name, first, *(partner(g, first) for _ in range(g.integer(0, 2))))

    return Row(name, add, 0.7)


def _not_zero(g: Growth, value: Value) -> Value:
    return positive(g, value, 1 if value.dtype[0] in "iu" else 0.5)


def _pow(g: Growth) -> None:
    base = g.pick(FLOAT)
    if g.flip():
        g.op("Pow", base, g.const(g.one_of([2.0, 3.0, 1.0, 0.0]), base.dtype))
    else:
        g.op("Pow", positive(g, base), bounded(g, partner(g, base), 2.0))


def _shift(g: Growth) -> None:
    value = g.pick(("uint8",))
    amount = g.op("Mod", partner(g, value), g.const(4, value.dtype))
    g.op("BitShift", value, amount, direction=g.one_of(["LEFT", "RIGHT"]))


def mask_like(g: Growth, value: Value) -> Value:
    """Conditions that broadcast with the value."""
    if g.flip(0.5):
        return g.pick(("bool",), where=lambda mask: meets(g, value, mask))
    if g.flip(0.3):
        return g.like(value, "bool")
    return g.op(g.one_of(["Greater", "Less"]), value, g.const(g.draw(value.dtype, ()), value.dtype))


def _where(g: Growth) -> None:
    value = g.pick(("float32", "int64", "int32", "uint8"))
    other = partner(g, value)
    mask = mask_like(g, value)
    if not meets(g, mask, other):
        other = g.const(g.draw(value.dtype, ()))
    g.op("Where", mask, *((value, other) if g.flip() else (other, value)))


def _cast(g: Growth) -> None:
    value = g.pick(ANY)
    to = {
        "float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
        "double": 11,
    }  # fmt: skip
    signed = ["float32", "int32", "int64", "float32", "bool", "float16", "double"]
    if value.dtype in ("bool", "uint8"):
        signed.append("uint8")
    if value.dtype == "float16":
        signed = ["float32"]
    g.op("Cast", value, to=to[g.one_of(signed)])


def _cast_like(g: Growth) -> None:
    g.op("CastLike", g.pick(INTEGER + FLOAT), g.pick(("float32", "int64", "int32")))


def _clip(g: Growth) -> None:
    value = g.pick((*FLOAT, *INTEGER))
    low, high = g.const(-1, value.dtype), g.const(1, value.dtype)
    limits: list[list[Value | None]] = [[low, high], [low], [None, high], []]
    g.op("Clip", value, *g.one_of(limits))


def _prelu(g: Growth) -> None:
    value = g.pick(("float32",))
    sizes = [value.fixed(axis) or 1 for axis in range(value.rank)]
    g.op("PRelu", value, g.const(g.draw(value.dtype, sizes[g.integer(0, len(sizes)) :])))


_NUMBERS = (*FLOAT, *INTEGER)
_SIGNED = (*FLOAT, *INTEGER, "int8")

ROWS = [
    *(_unary(name) for name in ("Exp", "Erf", "Sigmoid", "Tanh", "Softplus", "Softsign", "Sin")),
    *(_unary(name) for name in ("Cos", "Atan", "HardSwish", "Floor", "Ceil", "Round", "Asinh")),
    _unary("Relu", (*FLOAT, "int32", "int8"), weight=1.5),
    _unary("Identity", ANY),
    _unary("Neg", _SIGNED),
    _unary("Abs", (*_SIGNED, "uint8")),
    _unary("Sign", _SIGNED),
    _unary("Not", ("bool",)),
    _unary("BitwiseNot", (*INTEGER, *SMALL), since=18),
    _unary("Log", prepared=positive),
    _unary("Sqrt", prepared=positive, weight=1),
    _unary("Reciprocal", prepared=positive),
    *(_unary(name, prepared=bounded, weight=0.2) for name in ("Asin", "Acos", "Atanh", "Tan")),
    *(_unary(name, prepared=bounded, weight=0.2) for name in ("Sinh", "Cosh")),
    _unary("Acosh", prepared=lambda g, value: positive(g, value, 1.5), weight=0.2),
    _unary("LeakyRelu", alpha=_number(-0.5, 0.5)),
    _unary("Elu", alpha=_number(0.1, 2)),
    _unary("Celu", ("float32",), alpha=_number(0.5, 2)),
    _unary("Selu", alpha=_number(0.5, 2), gamma=_number(0.5, 2)),
    _unary("HardSigmoid", alpha=_number(0.1, 0.5), beta=_number(0, 1)),
    _unary("ThresholdedRelu", alpha=_number(0, 1)),
    _unary("Shrink", bias=_number(0, 1), lambd=_number(0, 1)),
    _unary("Mish", since=18),
    _unary("Gelu", since=20, approximate=lambda g: g.one_of(["none", "tanh"])),
    _unary("IsNaN"),
    _unary("IsInf", ("float32",), detect_negative=lambda g: g.integer(0, 1)),
    _binary("Add", _NUMBERS, _same, _same, 3),
    _binary("Sub", _NUMBERS, _same, _same, 2),
    _binary("Mul", _NUMBERS, _same, _same, 3),
    _binary("Div", _NUMBERS, _not_zero),
    _binary("Mod", ("int64", "int32", "uint8", "int8"), _not_zero, fmod=lambda g: 0),
    _binary("Mod", (*FLOAT, "int64", "int32"), _not_zero, fmod=lambda g: 1, weight=0.5),
    Row("Pow", _pow),
    _variadic("Max", _NUMBERS),
    _variadic("Min", _NUMBERS),
    _variadic("Sum", FLOAT),
    _variadic("Mean", FLOAT),
    *(_binary(name, _NUMBERS, _same, _same) for name in ("Greater", "Less", "Equal")),
    *(_binary(name, _NUMBERS, _same, _same, 0.5) for name in ("GreaterOrEqual", "LessOrEqual")),
    *(_binary(name, ("bool",), _same, _same) for name in ("And", "Or", "Xor")),
    *(_binary(name, (*INTEGER, *SMALL), _same, _same, 0.4) for name in ("BitwiseAnd", "BitwiseOr")),
    _binary("BitwiseXor", (*INTEGER, *SMALL), _same, _same, 0.4),
    Row("BitShift", _shift, 0.4),
    Row("Where", _where, 2),
    Row("Cast", _cast, 2),
    Row("CastLike", _cast_like, 0.5),
    Row("Clip", _clip),
    Row("PRelu", _prelu, 0.5),
]
