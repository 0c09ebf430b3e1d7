"""Inlines maps into the stages that read them.

Before: ``t[i] = x[i] + 3;  y[i] = x[i] * t[i]``. After: ``y[i] = x[i] * (x[i] + 3)``.

A value stays a stage of its own where computing it again would cost more than keeping it: read in
several places and expensive, or of fewer axes than its reader (a row's mean) and more than a copy.
"""

from __future__ import annotations

from dataclasses import replace

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr, TensorLoad
from tvm.tirx import Var

from tvm_sod2.schedules.rules.cost import EXPENSIVE, weight
from tvm_sod2.schedules.rules.polynomial import put
from tvm_sod2.schedules.rules.program import Program, Stage, loads, map_loads

__all__ = ["fold_epilogues", "inline_maps", "keep_terms"]

_BROADCAST_LIMIT = 2  # weight up to which a value is recomputed along axes it does not have
_REPEAT_LIMIT = 64  # weight times readers up to which a value is recomputed for each reader


def inline_maps(program: Program) -> Program:
    """A program of fewer stages that computes the same."""
    stages = list(program.stages)
    position = 0
    while position < len(stages):
        stage = stages[position]
        if not program.is_temporary(stage.buffer):
            position += 1
            continue
        readers = [s for s in stages if s.reads(stage.buffer)]
        if readers and (stage.combiner is not None or not (stage.plain or not stage.indices)):
            position += 1
            continue
        if readers and not _worthwhile(stage, readers):
            named = _named(stage, readers)
            if named is None:
                position += 1
                continue
            stages = [named if s is readers[0] else s for s in stages]
        else:
            stages = [_into(stage, s) if s in readers else s for s in stages]
        stages.remove(stage)
    temporaries = [t for t in program.temporaries if any(s.buffer.same_as(t) for s in stages)]
    return Program(program.func, stages, temporaries)


def fold_epilogues(program: Program) -> Program:
    """Join a reduction with the map that is its only reader, element by element.

    Before: ``s[i] += x[i, k];  y[i] = s[i] / 8``. After: ``y[i] = (sum over k of x[i, k]) / 8``.
    """
    stages = list(program.stages)
    for stage in program.stages:
        if stage.combiner is None or not stage.plain or not program.is_temporary(stage.buffer):
            continue
        readers = [s for s in stages if s.reads(stage.buffer)]
        if len(readers) != 1 or not _elementwise(stage, readers[0]):
            continue
        reader = readers[0]
        joined = _with_epilogue(stage, reader)
        stages = [joined if s is reader else s for s in stages if s is not stage]
    temporaries = [t for t in program.temporaries if any(s.buffer.same_as(t) for s in stages)]
    return Program(program.func, stages, temporaries)


def _with_epilogue(stage: Stage, reader: Stage) -> Stage:
    result = Var(stage.name, stage.buffer.ty.dtype)
    value = map_loads(reader.value, {hash(stage.buffer): lambda _: result})
    moved = {hash(a.var): b.var for a, b in zip(reader.axes, stage.axes, strict=True)}
    stored = (result, put(value, moved))
    return replace(stage, name=reader.name, buffer=reader.buffer, epilogue=stored)


def keep_terms(program: Program) -> Program:
    """Compute a map inside of the reduction that reads it first, and keep its values for later.

    Before: ``e[k] = exp(x[k]);  s += e[k]`` in two passes. After: one pass that stores and adds.
    """
    stages = list(program.stages)
    for stage in program.stages:
        if stage.combiner is not None or not stage.plain:
            continue
        readers = [s for s in stages if s.reads(stage.buffer)]
        reader = readers[0] if readers else None
        if reader is None or reader.combiner is None or reader.kept is not None:
            continue
        moved = _walks_once(stage, reader)
        if moved is None:
            continue
        value = put(stage.value, moved)
        indices = tuple(moved[hash(a.var)] for a in stage.axes)
        joined = replace(reader, kept=(stage.buffer, indices, value))
        stages = [joined if s is reader else s for s in stages if s is not stage]
    return Program(program.func, stages, program.temporaries)


def _walks_once(stage: Stage, reader: Stage) -> dict[int, Var] | None:
    """The map's axes as the reader's loops, where those visit each of its elements just once."""
    if reader.epilogue is not None and any(
        load.source.same_as(stage.buffer) for load in loads(reader.epilogue[1])
    ):
        return None
    found = [load for load in loads(reader.value) if load.source.same_as(stage.buffer)]
    loops = {hash(a.var): a for a in (*reader.axes, *reader.reduced)}
    indices = list(found[0].indices)
    if any(not tvm_ffi.structural_equal(indices, list(load.indices)) for load in found[1:]):
        return None
    if _has_branch(reader.value):
        return None
    used: set[int] = set()
    for index, axis in zip(indices, stage.axes, strict=True):
        loop = loops.get(hash(index)) if isinstance(index, Var) else None
        if loop is None or not tvm_ffi.structural_equal(loop.extent, axis.extent):
            return None
        used.add(hash(index))
    if len(used) != len(indices) or any(
        hash(a.var) not in used
        for a in loops.values()
        if not (isinstance(a.extent, tirx.IntImm) and int(a.extent.value) == 1)
    ):
        return None
    return {hash(a.var): i for a, i in zip(stage.axes, indices, strict=True)}


def _elementwise(stage: Stage, reader: Stage) -> bool:
    if reader.combiner is not None or not reader.plain or len(reader.axes) != len(stage.axes):
        return False
    if not all(
        tvm_ffi.structural_equal(a.extent, b.extent)
        for a, b in zip(reader.axes, stage.axes, strict=True)
    ):
        return False
    wanted = [a.var for a in reader.axes]
    return all(
        _is_axis(index, var, axis.extent)
        for load in loads(reader.value)
        if load.source.same_as(stage.buffer)
        for index, var, axis in zip(load.indices, wanted, reader.axes, strict=True)
    )


def _is_axis(index: Expr, var: Var, extent: Expr) -> bool:
    if isinstance(index, Var):
        return index.same_as(var)
    one = isinstance(extent, tirx.IntImm) and int(extent.value) == 1
    return one and isinstance(index, tirx.IntImm) and int(index.value) == 0


def _worthwhile(stage: Stage, readers: list[Stage]) -> bool:
    cost = weight(stage.value)
    if cost == 0:
        return True
    if any(_loops(reader) > _loops(stage) for reader in readers):
        return cost <= _BROADCAST_LIMIT
    reads = sum(reader.reads(stage.buffer) for reader in readers)
    if reads > 1:
        return cost <= EXPENSIVE and cost * reads <= _REPEAT_LIMIT
    return not (readers[0].reduced and _windowed(stage, readers[0]) and cost > EXPENSIVE)


def _named(stage: Stage, readers: list[Stage]) -> Stage | None:
    """The reader with the value bound once by a let, where all its loads are the same element."""
    reader = readers[0]
    if len(readers) > 1 or _loops(reader) > _loops(stage) or str(stage.value.ty.dtype) == "bool":
        return None
    if _has_branch(reader.value):  # the value may only be computed behind the branch's condition
        return None
    found = [load for load in loads(reader.value) if load.source.same_as(stage.buffer)]
    indices = list(found[0].indices)
    if any(not tvm_ffi.structural_equal(indices, list(load.indices)) for load in found[1:]):
        return None
    if any(loads(i) for i in indices) or not all(isinstance(i, Var) for i in indices):
        return None
    var = Var(stage.name, stage.value.ty)
    body = map_loads(reader.value, {hash(stage.buffer): lambda _: var})
    return replace(reader, value=tirx.Let(var, _at(stage, found[0]), body))


def _into(stage: Stage, reader: Stage) -> Stage:
    change = {hash(stage.buffer): lambda load: _at(stage, load)}
    epilogue = reader.epilogue
    if epilogue is not None:
        epilogue = (epilogue[0], map_loads(epilogue[1], change))
    return replace(reader, value=map_loads(reader.value, change), epilogue=epilogue)


def _at(stage: Stage, load: TensorLoad) -> Expr:
    # A scalar has no index, while its block has an axis of extent 1.
    indices = list(load.indices) or [tirx.const(0, "int64")] * len(stage.axes)
    mapping = {hash(a.var): i for a, i in zip(stage.axes, indices, strict=True)}
    return put(stage.value, mapping)


def _loops(stage: Stage) -> int:
    """Axes that are not of extent 1 by construction."""
    return sum(
        1
        for axis in (*stage.axes, *stage.reduced)
        if not (isinstance(axis.extent, tirx.IntImm) and int(axis.extent.value) == 1)
    )


def _windowed(stage: Stage, reader: Stage) -> bool:
    return any(
        not isinstance(index, Var)
        for load in loads(reader.value)
        if load.source.same_as(stage.buffer)
        for index in load.indices
    )


def _has_branch(expr: Expr) -> bool:
    found: list[Call] = []

    def visit(call: Call) -> None:
        if getattr(call.op, "name", "") == "prim.if_then_else":
            found.append(call)

    tvm_ffi.structural_walk(expr, [(Call, visit)])
    return bool(found)
