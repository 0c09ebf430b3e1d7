"""RDP across functions: callees before callers, recursive ones to a fixed point.

A call's result is the callee's, with the callee's symbols replaced by the dims of the arguments. A
recursive call starts from undef: the base case alone says what the result is, and the next round
confirms it or takes back what does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping

import tvm
import tvm_ffi
from tvm import relax

from tvm_sod2.errors import ShapeError
from tvm_sod2.op_classes import Fact, fact_of_type
from tvm_sod2.op_classes.expressions import as_expr, symbols_of
from tvm_sod2.op_classes.fact import entries
from tvm_sod2.passes.facts import STAND_IN, CalleeResult, FunctionFacts
from tvm_sod2.passes.rdp import propagate

Results = Mapping[tvm.ir.GlobalVar, CalleeResult]

MAX_ROUNDS = 16
"""Each round takes at least one dim of a result down the lattice, which is three elements high."""


def propagate_module(mod: tvm.IRModule) -> dict[tvm.ir.GlobalVar, FunctionFacts]:
    """RDP's facts on every Relax function of the module, which is not changed.

    Raises ShapeError, naming the operator, where dims contradict each other for every input.
    """
    functions = {
        gvar: func for gvar, func in mod.functions_items() if isinstance(func, relax.Function)
    }
    callees = {gvar: _callees(func, functions) for gvar, func in functions.items()}
    facts: dict[tvm.ir.GlobalVar, FunctionFacts] = {}
    results: dict[tvm.ir.GlobalVar, CalleeResult] = {}
    for cycle in _callees_first(callees):
        for gvar in cycle:
            results[gvar] = CalleeResult(functions[gvar], None)
        for _ in range(MAX_ROUNDS):
            before = [_comparable(results[gvar].fact) for gvar in cycle]
            for gvar in cycle:
                facts[gvar] = propagate(functions[gvar], results)
                results[gvar] = CalleeResult(functions[gvar], facts[gvar].returned)
            alone = len(cycle) == 1 and cycle[0] not in callees[cycle[0]]
            if alone or before == [_comparable(results[gvar].fact) for gvar in cycle]:
                break
        else:
            for gvar in cycle:
                results[gvar] = CalleeResult(functions[gvar], fact_of_type(functions[gvar].ret_ty))
            for gvar in cycle:
                facts[gvar] = propagate(functions[gvar], results)
    return facts


def propagate_equal(
    func: relax.Function, mod: tvm.IRModule, facts: Mapping[tvm.ir.GlobalVar, FunctionFacts]
) -> FunctionFacts | None:
    """RDP's facts on one function where all dims that might broadcast are equal.

    facts: what `propagate_module` found. None where they cannot all be, or nothing is assumed.
    """
    results = {gvar: CalleeResult(mod[gvar], known.returned) for gvar, known in facts.items()}
    try:
        found = propagate(func, results, assuming=True)
    except ShapeError:
        return None
    return found if found.assumptions else None


def _callees(
    func: relax.Function, functions: Mapping[tvm.ir.GlobalVar, relax.Function]
) -> list[tvm.ir.GlobalVar]:
    found: dict[tvm.ir.GlobalVar, None] = {}

    def visit(expr: tvm.ir.Expr) -> None:
        if isinstance(expr, relax.Call) and expr.op in functions:
            found[expr.op] = None

    relax.analysis.post_order_visit(func, visit)
    return list(found)


def _callees_first(
    callees: Mapping[tvm.ir.GlobalVar, list[tvm.ir.GlobalVar]],
) -> list[list[tvm.ir.GlobalVar]]:
    """Strongly connected components of the call graph, callees first (Tarjan)."""
    order: list[list[tvm.ir.GlobalVar]] = []
    index: dict[tvm.ir.GlobalVar, int] = {}
    low: dict[tvm.ir.GlobalVar, int] = {}
    stack: list[tvm.ir.GlobalVar] = []

    def visit(node: tvm.ir.GlobalVar) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for callee in callees[node]:
            if callee not in index:
                visit(callee)
                low[node] = min(low[node], low[callee])
            elif callee in stack:
                low[node] = min(low[node], index[callee])
        if low[node] == index[node]:
            start = stack.index(node)
            order.append(stack[start:])
            del stack[start:]

    for node in callees:
        if node not in index:
            visit(node)
    return order


def _comparable(fact: Fact | None) -> object:
    """A fact up to the identity of its stand-ins."""
    if fact is None:
        return None
    if fact.fields:
        return tuple(map(_comparable, fact.fields))
    dims = None if fact.dims is None else tuple(map(_key, entries(fact.dims)))
    value = None if fact.value is None else tuple(map(_key, fact.value.flat))
    return type(fact.ty), dims, value


def _key(entry: object) -> object:
    if entry is None or isinstance(entry, int):
        return entry
    if any(symbol.name == STAND_IN for symbol in symbols_of(entry)):
        return STAND_IN
    return tvm_ffi.StructuralKey(as_expr(entry))
