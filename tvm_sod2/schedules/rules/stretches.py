"""Indices of an operand that is stretched along dims not known to be 1.

Before: ``x[select(n == 1, 0, i)]`` with i in [0, n), as TVM writes `broadcast_to`; after: ``x[i]``,
which is the same where n is 1, and of which one sees that it moves on with i.
"""

from __future__ import annotations

from dataclasses import replace

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import IntImm, Var

from tvm_sod2.schedules.rules.program import Program, Stage

__all__ = ["plain_stretches"]


def plain_stretches(program: Program) -> Program:
    """The program with such indices replaced."""
    return Program(program.func, [_plain(s) for s in program.stages], program.temporaries)


def _plain(stage: Stage) -> Stage:
    extents = {hash(a.var): a.extent for a in (*stage.axes, *stage.reduced)}

    def chosen(select: tirx.Select) -> Expr:
        extent = extents.get(hash(select.false_value))
        if not isinstance(select.false_value, Var) or extent is None:
            return select
        known = _is(select.true_value, 0) and _is_one(select.condition, extent)
        return select.false_value if known else select

    return replace(stage, value=tvm_ffi.structural_map(stage.value, [(tirx.Select, chosen)]))


def _is_one(condition: Expr, extent: Expr) -> bool:
    if not isinstance(condition, tirx.EQ) or not _is(condition.b, 1):
        return False
    return bool(tvm_ffi.structural_equal(condition.a, extent))


def _is(expr: Expr, value: int) -> bool:
    return isinstance(expr, IntImm) and int(expr.value) == value
