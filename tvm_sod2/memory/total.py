"""The arena of a function together with the arenas of the functions it calls, as text.

While a private function runs, an arm of an ``If`` for instance, its own arena and its caller's
exist side by side; the arenas of functions called one after the other do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import tvm
from tvm import relax, tirx
from tvm.ir import GlobalVar, PrimType
from tvm_ffi import structural_map

from tvm_sod2.memory.plan import Plan
from tvm_sod2.memory.symbols import input_symbols
from tvm_sod2.memory.text import to_python

MOST_TERMS = 4096
"""Of an expression that is rewritten for a caller; each rewriting walks all of them."""


class Totals:
    """Totals of a module's functions; `plans` has a plan for each Relax function."""

    def __init__(self, mod: tvm.IRModule, plans: Mapping[GlobalVar, Plan]) -> None:
        self._mod = mod
        self._plans = plans
        self._active: set[GlobalVar] = set()

    def text(self, gvar: GlobalVar) -> str:
        """Bytes in Python's syntax over the dims of the function's inputs.

        "" where they depend on more, on a dim known only while the function runs, or on how deep
        functions call each other in a cycle; and where a callee's have more than `MOST_TERMS`.
        """
        called = self._called(gvar)
        if called is None or not self._known(gvar, self._plans[gvar].arena_dims):
            return ""
        names = self._plans[gvar].heights.sizes.names
        own = self._plans[gvar].arena_text
        if all(self._hands_over(gvar, call) for call in _calls(self._mod[gvar], self._plans)):
            # The plans' own texts name what occurs twice, and are the shorter ones by far.
            texts = [self.text(call.op) for call in _calls(self._mod[gvar], self._plans)]
        else:
            texts = [to_python(expr, names) for expr in called]
        texts = [text for text in dict.fromkeys(texts) if text != "0"]
        if not texts:
            return own
        inner = texts[0] if len(texts) == 1 else f"max({', '.join(texts)})"
        return inner if own == "0" else f"{own} + {inner}"

    def _hands_over(self, gvar: GlobalVar, call: relax.Call) -> bool:
        """Whether the function gives all it was given to the callee, whose dims have its names."""
        caller, callee = self._mod[gvar], self._mod[call.op]
        names = [symbol.name for symbol in input_symbols(caller)]
        if len(set(names)) < len(names) or len(call.args) != len(caller.params):
            return False
        same = all(a.same_as(b) for a, b in zip(call.args, caller.params, strict=True))
        return same and names == [symbol.name for symbol in input_symbols(callee)]

    def _called(self, gvar: GlobalVar) -> list[tvm.ir.Expr] | None:
        """For each call of a Relax function its total in the caller's dims; None: unknown."""
        if gvar in self._active:
            return None
        self._active.add(gvar)
        found: list[tvm.ir.Expr] = []
        known = True
        for call in _calls(self._mod[gvar], self._plans):
            total = self._total(call.op)
            moved = None if total is None else _in_caller(total, self._mod[call.op], call)
            if moved is None or not self._known(gvar, tirx.analysis.undefined_vars(moved)):
                known = False
                break
            found.append(moved)
        self._active.discard(gvar)
        return found if known else None

    def _total(self, gvar: GlobalVar) -> tvm.ir.Expr | None:
        called, plan = self._called(gvar), self._plans[gvar]
        if called is None or not self._known(gvar, plan.arena_dims):
            return None
        if plan.arena_length > MOST_TERMS:
            return None
        highest: tvm.ir.Expr = tirx.IntImm("int64", 0)
        for expr in called:
            highest = tirx.max(highest, expr)
        return plan.arena_bytes + highest

    def _known(self, gvar: GlobalVar, dims: Iterable[tirx.Var]) -> bool:
        return set(dims) <= set(input_symbols(self._mod[gvar]))


def _calls(func: relax.Function, functions: Mapping[GlobalVar, Plan]) -> list[relax.Call]:
    found: list[relax.Call] = []

    def visit(expr: relax.Expr) -> None:
        if isinstance(expr, relax.Call) and isinstance(expr.op, GlobalVar) and expr.op in functions:
            found.append(expr)

    relax.analysis.post_order_visit(func, visit)
    return found


def _in_caller(expr: tvm.ir.Expr, callee: relax.Function, call: relax.Call) -> tvm.ir.Expr | None:
    """`expr` over the callee's symbols, over the caller's; None where an argument has no dims."""
    meaning: dict[tirx.Var, tvm.ir.Expr] = {}
    for param, arg in zip(callee.params, call.args, strict=True):
        if isinstance(param.ty, PrimType):
            meaning[param] = arg
        elif isinstance(param.ty, relax.TensorType):
            formal, actual = param.ty.shape, arg.ty.shape
            if isinstance(formal, relax.ShapeExpr) and isinstance(actual, relax.ShapeExpr):
                pairs = zip(formal.values, actual.values, strict=True)
                meaning |= {f: a for f, a in pairs if isinstance(f, tirx.Var)}
    if any(var not in meaning for var in tirx.analysis.undefined_vars(expr)):
        return None
    return structural_map(expr, [(tirx.Var, lambda var: meaning.get(var, var))])
