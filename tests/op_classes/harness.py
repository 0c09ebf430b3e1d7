"""Calls on symbolic arguments, their facts, and the evaluation of what a transfer says of them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, tirx

from tvm_sod2.memory.text import compile_size, to_python
from tvm_sod2.op_classes import Arithmetic, Fact, fact_of_type, row
from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import constant_entries, entries
from tvm_sod2.op_classes.rational import Rational

Env = dict[str, int]

NAMES = ("n", "m", "k", "j", "h", "w")
n, m, k, j, h, w = SYMBOLS = tuple(tirx.Var(name, "int64") for name in NAMES)


def arithmetic() -> Arithmetic:
    """One that knows all symbols as dims."""
    knowledge = Arithmetic()
    for symbol in SYMBOLS:
        knowledge.bind(symbol)
    return knowledge


def tensor(*dims: Any, dtype: str = "float32", value: Any = None, name: str = "x") -> relax.Var:
    """A variable with these dims."""
    return relax.Var(name, relax.TensorType(list(dims), dtype))


def typed(call: relax.Call) -> relax.Call:
    """The call with its type as Relax infers it."""
    return relax.BlockBuilder().normalize(call)


def facts_of(call: relax.Call, known: dict[relax.Var, np.ndarray]) -> list[Fact]:
    """The facts of a call's arguments; `known` has the entries of variables."""
    return [_fact(argument, known) for argument in call.args]


def _fact(expr: Any, known: dict[relax.Var, np.ndarray]) -> Fact:
    if expr in known:
        return Fact(expr.ty, known[expr])
    if isinstance(expr, relax.Tuple):
        fields = tuple(_fact(field, known) for field in expr.fields)
        if fields and all(isinstance(f.ty, tvm.ir.PrimType) and f.known for f in fields):
            return Fact(expr.ty, entries([f.array.flat[0] for f in fields]), fields)
        return Fact(relax.TupleType([f.ty for f in fields]), fields=fields)
    if isinstance(expr, tvm.ir.GenericConst) and isinstance(expr.ty, relax.TensorType):
        return Fact(expr.ty, constant_entries(expr.value.numpy()))
    if isinstance(expr.ty, tvm.ir.PrimType) and not isinstance(expr, tirx.FloatImm):
        return Fact(expr.ty, entries([expr], ()))
    return fact_of_type(expr.ty)


def dims_found(call: relax.Call, known: dict[relax.Var, np.ndarray] | None = None) -> Any:
    """What the row's transfer says of the dims of a call."""
    call = typed(call)
    transfer = row(call.op.name).dims
    assert transfer is not None, f"{call.op.name} has no transfer for dims"
    return transfer(call, facts_of(call, known or {}), arithmetic())


def agreements(call: relax.Call, known: dict[relax.Var, np.ndarray] | None = None) -> list[str]:
    """What the row says must be equal, as text: "argument.axis: dim == expected"."""
    call = typed(call)
    agree = row(call.op.name).agree
    assert agree is not None, f"{call.op.name} has no agreements"
    found = agree(call, facts_of(call, known or {}), arithmetic())
    return [f"{a.argument}.{a.axis}: {text(a.dim)} == {text(a.expected)}" for a in found]


def with_numbers(call: relax.Call, env: Env) -> relax.Call:
    """The call on variables with the numbers of `env` in their types, and of the same type."""

    def number(symbol: tirx.Var) -> Any:
        return tirx.const(env[symbol.name], "int64") if symbol in SYMBOLS else symbol

    def renewed(expr: Any) -> Any:
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([renewed(field) for field in expr.fields])
        if isinstance(expr, relax.Var) and isinstance(expr.ty, relax.TensorType):
            ty = tvm_ffi.structural_map(expr.ty, (tvm.ir.Var, number))
            return relax.Var(expr.name, ty)
        return expr

    arguments = [renewed(argument) for argument in call.args]
    return relax.Call(call.op, arguments, call.attrs, call.ty_args)


def text(entry: Entry) -> str:
    return str(entry) if entry is None or isinstance(entry, int) else to_python(entry)


def evaluate(entry: Entry, env: Env) -> Any:
    """The entry at these dims; None stays None. NumPy's own integers are no entries."""
    assert not isinstance(entry, np.generic)
    if entry is None or isinstance(entry, int):
        return entry
    if isinstance(entry, Rational):
        return Fraction(evaluate(entry.numerator, env), entry.denominator)
    return compile_size(to_python(entry))(env)


def evaluate_all(array: np.ndarray, env: Env) -> np.ndarray:
    """An array of entries at these dims."""
    return entries([evaluate(entry, env) for entry in array.flat], array.shape)


def envs(count: int, low: int = 0, high: int = 9, seed: int = 0) -> list[Env]:
    """Random dims, the smallest and 1 for all of them among them."""
    rng = np.random.default_rng(seed)
    drawn = [
        dict(zip(NAMES, map(int, row_), strict=True))
        for row_ in rng.integers(low, high, (count, 6))
    ]
    return [dict.fromkeys(NAMES, low), dict.fromkeys(NAMES, max(1, low)), *drawn]


def shape_at(dims: Sequence[Any], env: Env) -> tuple[int, ...]:
    """Dims, given as ints, symbols or expressions, at an env."""
    return tuple(evaluate(entries([dim])[0], env) for dim in dims)


def dims_at(ty: Any, env: Env) -> tuple[Any, ...]:
    """The dims of a type at an env, field by field for a tuple."""
    if isinstance(ty, relax.TupleType):
        return tuple(dims_at(field, env) for field in ty.fields)
    dims = Fact(ty).dims
    assert dims is not None
    return tuple(evaluate(dim, env) for dim in entries(dims))


def contradicts(found: Any, expected: Any) -> bool:
    """Whether known entries differ from the expected numbers; None contradicts nothing."""
    if found is None:
        return False
    if isinstance(found, tuple):
        return any(contradicts(f, e) for f, e in zip(found, expected, strict=True))
    wanted = np.asarray(expected)
    if found.shape != wanted.shape:
        return True
    pairs = zip(found.flat, wanted.flat, strict=True)
    return any(f is not None and Fraction(f) != Fraction(e.item()) for f, e in pairs)
