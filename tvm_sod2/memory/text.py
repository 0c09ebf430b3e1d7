"""Byte counts as text: TIR expressions in Python's syntax, and their evaluation at given dims."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import tvm
from tvm import tirx

from tvm_sod2.errors import InputError

_INFIX = {
    tirx.expr.Add: "+",
    tirx.expr.Sub: "-",
    tirx.expr.Mul: "*",
    tirx.expr.FloorDiv: "//",
    tirx.expr.FloorMod: "%",
    tirx.expr.EQ: "==",
    tirx.expr.NE: "!=",
    tirx.expr.LT: "<",
    tirx.expr.LE: "<=",
    tirx.expr.GT: ">",
    tirx.expr.GE: ">=",
    tirx.expr.And: "and",
    tirx.expr.Or: "or",
}
_STRENGTH = {"or": 1, "and": 2, "+": 5, "-": 5, "*": 6, "//": 6, "%": 6}
_COMPARISON = 4
_ATOM = 9

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[..., int]] = {"max": max, "min": min}


def to_python(expr: tvm.ir.Expr, names: Mapping[tirx.Var, str] | None = None) -> str:
    """`expr` in Python's syntax; `names` renames symbols, by default they keep their names."""
    return _print(expr, names or {})[0]


def _print(expr: tvm.ir.Expr, names: Mapping[tirx.Var, str]) -> tuple[str, int]:
    if isinstance(expr, tirx.IntImm):
        return (str(int(expr.value)), _ATOM if expr.value >= 0 else 7)
    if isinstance(expr, tirx.Var):
        return names.get(expr, expr.name), _ATOM
    if isinstance(expr, tirx.expr.Cast):
        return _print(expr.value, names)
    if isinstance(expr, (tirx.expr.Max, tirx.expr.Min)):
        word = "max" if isinstance(expr, tirx.expr.Max) else "min"
        return f"{word}({_print(expr.a, names)[0]}, {_print(expr.b, names)[0]})", _ATOM
    if isinstance(expr, tirx.expr.Not):
        return f"not {_wrap(expr.a, names, 3)}", 3
    if isinstance(expr, (tirx.expr.Div, tirx.expr.Mod)):
        return _truncating(expr, names), _ATOM
    choice = _choice(expr)
    if choice is not None:
        condition, yes, no = (_wrap(part, names, 1) for part in choice)
        return f"({yes} if {condition} else {no})", _ATOM
    sign = _INFIX.get(type(expr))
    if sign is None:
        raise TypeError(f"a size cannot be written in Python: {expr}")
    strength = _STRENGTH.get(sign, _COMPARISON)
    right = strength if sign in ("+", "and", "or") else strength + 1
    return f"{_wrap(expr.a, names, strength)} {sign} {_wrap(expr.b, names, right)}", strength


def _choice(expr: tvm.ir.Expr) -> tuple[tvm.ir.Expr, ...] | None:
    """Condition, value where it holds and value where it does not, of either form TIR has."""
    if isinstance(expr, tirx.expr.Select):
        return expr.condition, expr.true_value, expr.false_value
    if isinstance(expr, tvm.ir.Call) and expr.op.name.endswith(".if_then_else"):
        return tuple(expr.args)
    return None


def _truncating(expr: tvm.ir.Expr, names: Mapping[tirx.Var, str]) -> str:
    """A quotient rounded toward zero, or its remainder, out of Python's, which round down."""
    sign = "//" if isinstance(expr, tirx.expr.Div) else "%"
    a, b = _wrap(expr.a, names, 7), _wrap(expr.b, names, 7)
    positive = isinstance(expr.b, tirx.IntImm) and expr.b.value > 0
    same_sign = f"{a} >= 0" if positive else f"({a} < 0) == ({b} < 0)"
    return f"({a} {sign} {b} if {same_sign} else -(-{a} {sign} {b}))"


def _wrap(expr: tvm.ir.Expr, names: Mapping[tirx.Var, str], least: int) -> str:
    text, strength = _print(expr, names)
    return text if strength >= least else f"({text})"


def compile_size(text: str) -> Callable[[Mapping[str, int]], int]:
    """A function of the dims for an expression printed by `to_python`.

    Only integers, names, ``+ - * // %``, comparisons, ``and or not``, ``if else``, ``:=``,
    ``min`` and ``max`` are understood: the text may come from a file.
    """
    tree = ast.parse(text, mode="eval").body
    # A copy of the dims, because ``:=`` adds names to it.
    return lambda dims: int(_evaluate(tree, dict(dims)))


def arena_bytes(expression: str, dims: Mapping[str, int]) -> int:
    """Bytes of the arena at `dims`, from the function attribute ``sod2.arena_bytes``.

    Errors: `InputError`, when a dim that the expression needs is missing.
    """
    return compile_size(expression)(dims)


def _evaluate(node: ast.expr, dims: dict[str, int]) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.Name):
        if node.id not in dims:
            raise InputError(f"dim {node.id!r} is needed and not given; given: {sorted(dims)}")
        return dims[node.id]
    if isinstance(node, ast.NamedExpr):
        dims[node.target.id] = _evaluate(node.value, dims)
        return dims[node.target.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_evaluate(node.left, dims), _evaluate(node.right, dims))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        value = _evaluate(node.operand, dims)
        return -value if isinstance(node.op, ast.USub) else not value
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
        left, right = _evaluate(node.left, dims), _evaluate(node.comparators[0], dims)
        return _COMPARE[type(node.ops[0])](left, right)
    if isinstance(node, ast.BoolOp):
        values = (_evaluate(value, dims) for value in node.values)
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.IfExp):
        return _evaluate(node.body if _evaluate(node.test, dims) else node.orelse, dims)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        function = _FUNCTIONS.get(node.func.id)
        if function is not None:
            return function(*(_evaluate(arg, dims) for arg in node.args))
    raise ValueError(f"not a size expression: {ast.unparse(node)}")
