"""Long chains of lets in one expression become stores to one-slot buffers before its statement.

    B[i] = T.Let(f(t), where={t: T.Let(g(u), where={u: A[i]})})
->  u_slot[0] = A[i]
    t_slot[0] = g(u_slot[0])
    B[i] = f(t_slot[0])

Where TVM's code generator meets a let, its analyzer simplifies the value with all earlier values in
their variables' places: time grows with the product of the uses along the chain, to minutes for
softplus in tanh of a rounded number. Loads end that, and LLVM keeps the slots in registers.

Nor does the analyzer take a let whose value casts a comparison of vectors: its bounds are scalars
of the comparison's type. What it may be is chosen instead, since conditions have no bounds.

    T.Let(f(t), where={t: T.Cast("float32x8", A[i:j] < B[i:j])})
->  T.Let(f(t), where={t: T.Select(A[i:j] < B[i:j], T.Broadcast(1.0, 8), T.Broadcast(0.0, 8))})

Nor does it take a let whose value divides by a float what an integer became: it looks for bounds of
the quotient, and compares them with an integer 0. The bits of a float have no bounds.

    T.Let(f(t), where={t: T.Cast("float32", i) / x})
->  T.Let(f(t), where={t: T.reinterpret("float32", T.reinterpret("int32", T.Cast(...))) / x})
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr
from tvm.tirx import Stmt

_MOST = 9
"""Lets of an expression that stay: those of any one formula of schedules/math.py."""


@tvm.transform.module_pass(opt_level=0, name="UnchainLets")
def unchain_lets(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Rewrite stores whose value holds many lets; runs on vectorised loops."""
    for gvar, func in mod.functions.items():
        mod[gvar] = tvm_ffi.structural_map(func, [(tirx.BufferStore, _unchain)], order="post")
    return mod


def _unchain(store: tirx.BufferStore) -> Stmt:
    values = _lets(store.value)
    if not values:
        return store
    store = tvm_ffi.structural_map(store, (tirx.Cast, _chosen), order="post")
    if _divides(store.value):
        store = tvm_ffi.structural_map(store, (tirx.Cast, _unbounded), order="post")
    values = _lets(store.value)
    if len(values) <= _MOST or _guards_lets(store.value):
        return store
    slots: dict[tirx.Var, tirx.Buffer] = {}
    steps: list[Stmt] = []

    def loaded(expr: Expr) -> Expr:
        def load(var: tirx.Var) -> Expr:
            return slots[var][_place(slots[var])] if var in slots else var

        plain = tvm_ffi.structural_map(expr, [(tirx.Let, lambda let: let.body)], order="post")
        return tvm_ffi.structural_map(plain, (tirx.Var, load))

    for var in _in_order(values):
        lanes = tvm.DataType(str(var.ty.dtype)).lanes
        element = str(var.ty.dtype).partition("x")[0]
        slot = tirx.decl_buffer([tirx.IntImm("int64", lanes)], element, f"{var.name}_slot")
        value = loaded(values[var])
        slots[var] = slot
        steps += [tirx.AllocBuffer(slot), tirx.BufferStore(slot, value, [_place(slot)])]
    last = tirx.BufferStore(store.buffer, loaded(store.value), store.indices)
    return tirx.SeqStmt([*steps, last])


def _chosen(cast: tirx.Cast) -> Expr:
    """One or zero by the comparison that `cast` turns into numbers, where it is of vectors."""
    given = tvm.DataType(str(cast.value.ty.dtype))
    if given.lanes == 1 or not str(given).startswith("bool"):
        return cast
    element = str(cast.ty.dtype).partition("x")[0]
    one, zero = (tirx.Broadcast(tirx.const(v, element), given.lanes) for v in (1, 0))
    return tirx.Select(cast.value, one, zero)


def _divides(expr: Expr) -> bool:
    found: list[tirx.Div] = []
    tvm_ffi.structural_walk(expr, [(tirx.Div, found.append)])
    return any(str(division.ty.dtype).startswith("float") for division in found)


def _unbounded(cast: tirx.Cast) -> Expr:
    """The same, by its bits where an integer becomes a float."""
    given, made = (str(expr.ty.dtype) for expr in (cast.value, cast))
    if not given.startswith(("int", "uint")) or not made.startswith("float"):
        return cast
    return tirx.reinterpret(made, tirx.reinterpret(made.replace("float", "int"), cast))


def _place(slot: tirx.Buffer) -> Expr:
    lanes = int(slot.shape[0])
    zero = tirx.IntImm("int64", 0)
    return zero if lanes == 1 else tirx.Ramp(zero, tirx.IntImm("int64", 1), lanes)


def _lets(expr: Expr) -> dict[tirx.Var, Expr]:
    found: dict[tirx.Var, Expr] = {}

    def note(let: tirx.Let) -> None:
        found[let.var] = let.value

    tvm_ffi.structural_walk(expr, [(tirx.Let, note)])
    return found


def _in_order(values: dict[tirx.Var, Expr]) -> list[tirx.Var]:
    """The variables, each after those that its value reads."""
    done: dict[tirx.Var, None] = {}

    def finish(var: tirx.Var) -> None:
        if var not in values or var in done:
            return
        reads: list[tirx.Var] = []
        tvm_ffi.structural_walk(values[var], [(tirx.Var, reads.append)])
        for read in reads:
            if not read.same_as(var):
                finish(read)
        done[var] = None

    for var in values:
        finish(var)
    return list(done)


def _guards_lets(expr: Expr) -> bool:
    """Whether a let's value may be one that only a branch may compute."""
    found = False

    def look(call: Call) -> None:
        nonlocal found
        guards = getattr(call.op, "name", "").endswith("if_then_else")
        found = found or (guards and any(_lets(arm) for arm in call.args[1:]))

    tvm_ffi.structural_walk(expr, [(Call, look)])
    return found
