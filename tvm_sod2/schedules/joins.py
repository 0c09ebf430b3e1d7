"""Recognises kernels that only put tensors together along an axis, or take one apart.

What such a kernel does is noted on it before it is scheduled, by the function attributes
``sod2.join`` and ``sod2.split``: the axis. Where memory allows, none of them has to run:
see `tvm_sod2.memory.parts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import sym, tirx
from tvm.ir import Call, Expr, TensorLoad

from tvm_sod2.schedules.rules.program import Program, Stage
from tvm_sod2.schedules.rules.reading import read_program

JOIN = "sod2.join"
"""The last operand is the others, each once and in order, along this axis."""

SPLIT = "sod2.split"
"""The operands but the first are the first one's pieces, in order and without a rest."""


def joins(func: tirx.PrimFunc) -> dict[str, int]:
    """The attribute that `func` deserves, or none."""
    params = list(func.params)
    if len(params) < 3 or not all(hasattr(param.ty, "shape") for param in params):
        return {}
    ranks = {len(param.ty.shape) for param in params}
    dtypes = {str(param.ty.dtype) for param in params}
    program = read_program(func) if len(ranks) == len(dtypes) == 1 else None
    if program is None or not all(s.plain and s.combiner is None for s in program.stages):
        return {}
    for axis in range(ranks.pop()):
        if _joins(program, params, axis):
            return {JOIN: axis}
        if _splits(program, params, axis):
            return {SPLIT: axis}
    return {}


def _joins(program: Program, params: Sequence[Any], axis: int) -> bool:
    """Whether the one stage reads each operand from where the one before it ends."""
    if len(program.stages) != 1 or not program.stages[0].buffer.same_as(params[-1]):
        return False
    stage = program.stages[0]
    starts, found = _starts(params[:-1], axis), []
    value = stage.value
    while isinstance(value, Call) and getattr(value.op, "name", "") == "prim.if_then_else":
        condition, at_end, value = value.args
        found.append((at_end, condition))
    found = [(value, None), *found[::-1]]
    if len(found) != len(starts):
        return False
    at = stage.axes[axis].var
    return all(
        _reads(stage, value, param, axis, -start)
        and (condition is None or _is_from(condition, at, start))
        for (value, condition), param, start in zip(found, params, starts, strict=False)
    ) and _same(starts[-1] + params[-2].ty.shape[axis], stage.axes[axis].extent)


def _splits(program: Program, params: Sequence[Any], axis: int) -> bool:
    """Whether each stage writes one piece, which begins where the one before it ends."""
    whole, *pieces = params
    if [hash(stage.buffer) for stage in program.stages] != [hash(piece) for piece in pieces]:
        return False
    starts = _starts(pieces, axis)
    return all(
        _reads(stage, stage.value, whole, axis, start)
        for stage, start in zip(program.stages, starts, strict=True)
    ) and _same(starts[-1] + pieces[-1].ty.shape[axis], whole.ty.shape[axis])


def _starts(parts: Sequence[Any], axis: int) -> list[Expr]:
    starts: list[Expr] = [tirx.IntImm("int64", 0)]
    for part in parts[:-1]:
        starts.append(starts[-1] + part.ty.shape[axis])
    return starts


def _reads(stage: Stage, value: Expr, buffer: Any, axis: int, shift: Expr) -> bool:
    """Whether `value` is the buffer's element at the stage's axes, shifted along one of them."""
    if not isinstance(value, TensorLoad) or not value.source.same_as(buffer):
        return False
    return all(
        _same(index, at.var + shift) if number == axis else _is_axis(index, at)
        for number, (index, at) in enumerate(zip(value.indices, stage.axes, strict=True))
    )


def _is_axis(index: Expr, axis: Any) -> bool:
    one = isinstance(axis.extent, tirx.IntImm) and axis.extent.value == 1
    return bool(index.same_as(axis.var)) or (one and _same(index, tirx.IntImm("int64", 0)))


def _is_from(condition: Expr, at: Any, start: Expr) -> bool:
    """Whether the condition is `start <= at`, however it is written."""
    if isinstance(condition, tirx.LE):
        return _same(condition.b - condition.a, at - start)
    if isinstance(condition, tirx.GE):
        return _same(condition.a - condition.b, at - start)
    return False


def _same(a: Expr, b: Expr) -> bool:
    return bool(sym.Analyzer().can_prove_equal(a, b))
