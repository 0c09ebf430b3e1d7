"""What rows repeat element by element is computed once for a block of rows, into tables.

Before: ``for i: for j: y[i, j] = x[i, floor(j * ratio)]``, as a resize along the last axis reads.
After: ``for j: t[j] = floor(j * ratio)`` and ``for i: for j: y[i, j] = x[i, t[j]]``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import AllocBuffer, BufferLoad, BufferStore, Stmt, Var

from tvm_sod2.schedules.rules.access import Memory, Nest, stride
from tvm_sod2.schedules.rules.cost import weight
from tvm_sod2.schedules.rules.loops import serial
from tvm_sod2.schedules.rules.polynomial import occurs, put

__all__ = ["weight_of_elements", "with_tables"]

_LEAST = 2  # the weight from which on a load takes less


def with_tables(
    memory: Memory, nest: Nest, start: Expr, count: Expr, most: int
) -> tuple[list[Stmt], Nest]:
    """Statements that fill the tables, and the nest that reads them.

    They hold the last axis's `count` elements from `start` on, at most `most`.
    """
    inner = nest.axes[-1].var
    others = [*[a.var for a in nest.axes[:-1]], *_bound(nest.value)]
    found: list[tuple[Expr, Var]] = []

    def entry(expr: Expr) -> Expr:
        if str(expr.ty.dtype) not in ("int64", "float32") or weight(expr) < _LEAST:
            return expr
        if occurs(expr, others) or not occurs(expr, [inner]):
            return expr
        if str(expr.ty.dtype) == "int64" and stride(memory, expr, inner) is not None:
            return expr
        for known, table in found:
            if tvm_ffi.structural_equal(known, expr):
                return BufferLoad(table, [inner - start])
        table = tirx.decl_buffer((most,), expr.ty.dtype, name="table")
        found.append((expr, table))
        return BufferLoad(table, [inner - start])

    value = tvm_ffi.structural_map(nest.value, [(Expr, entry)], order="pre")
    statements: list[Stmt] = []
    for expr, table in found:
        statements.append(AllocBuffer(table))
        statements.append(serial(count, partial(_fill, table, expr, inner, start), "k"))
    return statements, replace(nest, value=value)


def weight_of_elements(nest: Nest) -> int:
    """Instructions for an element of a row, without what tables and rows take off it."""
    inner = [nest.axes[-1].var]
    others = [a.var for a in nest.axes[:-1]]

    def apart(expr: Expr) -> Expr:
        if isinstance(expr, Var) or (occurs(expr, inner) and occurs(expr, others)):
            return expr  # A variable weighs nothing, and a let needs its own.
        return tirx.const(0, expr.ty.dtype)

    return weight(tvm_ffi.structural_map(nest.value, [(Expr, apart)], order="pre"))


def _bound(value: Expr) -> list[Var]:
    """What lets within a value bind: a table is filled where they are not known."""
    found: list[Var] = []
    tvm_ffi.structural_walk(value, [(tirx.Let, lambda let: found.append(let.var))])
    return found


def _fill(table: Var, expr: Expr, inner: Var, start: Expr, index: Expr) -> Stmt:
    return BufferStore(table, put(expr, {hash(inner): start + index}), [index])
