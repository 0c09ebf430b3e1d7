"""Conditions of `where` as they are, where they are computed on the spot.

Before: ``select(0 < int64(isnan(a)), a, b)``, as TVM writes `where`, in vectors of int64; after:
``select((bits(a) & 0x7fffffff) > 0x7f800000, a, b)``, in those of floats. Booleans that are loaded
stay: TVM packs vectors of them into bits. LLVM has no vectors of TVM's `isnan`.
"""

from __future__ import annotations

from dataclasses import replace

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr, TensorLoad

from tvm_sod2.schedules.rules.program import Program, Stage

__all__ = ["plain_conditions"]


def plain_conditions(program: Program) -> Program:
    """The program with such conditions replaced."""
    return Program(program.func, [_plain(s) for s in program.stages], program.temporaries)


def _plain(stage: Stage) -> Stage:
    kept = stage.kept
    if kept is not None:
        kept = (kept[0], kept[1], _rewritten(kept[2]))
    return replace(stage, value=_rewritten(stage.value), kept=kept)


def _rewritten(value: Expr) -> Expr:
    return tvm_ffi.structural_map(value, [(tirx.LT, _condition), (Call, _is_nan)])


def _is_nan(call: Call) -> Expr:
    if getattr(call.op, "name", "") != "tirx.isnan" or str(call.args[0].ty.dtype) != "float32":
        return call
    size = tirx.reinterpret("int32", call.args[0]) & tirx.const(0x7FFFFFFF, "int32")
    return size > tirx.const(0x7F800000, "int32")


def _condition(node: tirx.LT) -> Expr:
    zero = isinstance(node.a, tirx.IntImm) and node.a.value == 0
    if not zero or not isinstance(node.b, tirx.Cast):
        return node
    condition = node.b.value
    computed = str(condition.ty.dtype) == "bool" and not isinstance(condition, TensorLoad)
    return condition if computed else node
