"""TIR expressions over dims, taken apart: their symbols, their length, their parts."""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from tvm_sod2.op_classes.rational import Rational

Entry = Any  # int | tvm.ir.Expr | Rational | None
"""An entry of a small tensor, or a dim; None is nac."""

_CHILDREN: dict[type, tuple[str, ...]] = {
    **dict.fromkeys(
        (tirx.Add, tirx.Sub, tirx.Mul, tirx.FloorDiv, tirx.FloorMod, tirx.Min, tirx.Max), ("a", "b")
    ),
    **dict.fromkeys((tirx.EQ, tirx.NE, tirx.LT, tirx.LE, tirx.GT, tirx.GE), ("a", "b")),
    **dict.fromkeys((tirx.And, tirx.Or, tirx.Div, tirx.Mod), ("a", "b")),
    tirx.Not: ("a",),
    tirx.Cast: ("value",),
    tirx.Select: ("condition", "true_value", "false_value"),
}


def as_expr(entry: Entry) -> tvm.ir.Expr:
    """The entry as a TIR expression."""
    return tirx.const(entry, "int64") if isinstance(entry, int) else entry


def selected(node: Any) -> Any:
    """A type, entry or function with every conditional call in it as a Select."""
    if node is None or isinstance(node, int | tvm.ir.Var | tirx.IntImm):
        return node

    def select(call: tvm.ir.Call) -> tvm.ir.Expr:
        conditional = getattr(call.op, "name", "") == "prim.if_then_else"
        return tirx.Select(*call.args) if conditional else call

    return tvm_ffi.structural_map(node, (tvm.ir.Call, select))


def is_arithmetic(call: tvm.ir.Call) -> bool:
    """Whether a call is an expression over numbers; the length of a list, say, is not."""
    return all(isinstance(part.ty, tvm.ir.PrimType) for part in (call, *call.args))


def symbols_of(expr: Entry) -> list[tvm.ir.Var]:
    """The symbols in an expression, in order of appearance, each as often as it appears."""
    found: list[tvm.ir.Var] = []
    if isinstance(expr, Rational):
        expr = expr.numerator
    if not isinstance(expr, int):
        tvm_ffi.structural_walk(expr, (tvm.ir.Var, found.append))
    return found


def terms_in(expr: tvm.ir.Expr, limit: int) -> int:
    """How many operations, symbols and constants make up an expression, counted up to `limit`."""
    count, work = 0, [expr]
    while work and count <= limit:
        node = work.pop()
        count += 1
        work += [getattr(node, name) for name in _CHILDREN.get(type(node), ())]
    return count


def substitute_part(entry: Entry, part: tvm.ir.Expr, value: int) -> Entry:
    """The entry with every occurrence of the expression `part` replaced by a constant."""
    if entry is None or isinstance(entry, int):
        return entry
    if isinstance(entry, Rational):
        return Rational(substitute_part(entry.numerator, part, value), entry.denominator)
    constant = tirx.const(value, "int64")
    if isinstance(part, tvm.ir.Var):
        return tvm_ffi.structural_map(
            entry, (tvm.ir.Var, lambda v: constant if v.same_as(part) else v)
        )
    return tvm_ffi.structural_map(
        entry,
        (tvm.ir.Expr, lambda e: constant if tvm_ffi.structural_equal(e, part) else e),
        order="pre",
    )


def name_of(value: Any) -> str:
    """The operator of a call, "" for anything else."""
    return str(getattr(getattr(value, "op", None), "name", ""))
