"""Row by row: softmax, layer norm and other chains whose stages share their leading axes.

Before: one loop nest over all rows per stage, each with a buffer between. After: one forked loop
over rows, in which each stage of a row follows the last while the row is in the cache.
"""

from __future__ import annotations

from dataclasses import replace

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import AllocBuffer, PrimFunc, Stmt, Var

from tvm_sod2.schedules.rules.access import Memory
from tvm_sod2.schedules.rules.cost import weight
from tvm_sod2.schedules.rules.loops import bind, decode, fork, i64, product, sequence, static
from tvm_sod2.schedules.rules.polynomial import Polynomials
from tvm_sod2.schedules.rules.program import Axis, Program, Stage, loads, substitute
from tvm_sod2.schedules.rules.reductions import runs_along_output
from tvm_sod2.schedules.rules.stages import emit_stage, finish, home_in_outputs, reduced_program
from tvm_sod2.schedules.traits import Traits

__all__ = ["schedule_rows"]


def schedule_rows(func: PrimFunc, traits: Traits) -> PrimFunc | None:
    """Fuse the stages of each row; None where there is one stage only or no common row."""
    program = reduced_program(func)
    if program is None or len(program.stages) < 2:
        return None
    memory = Memory(traits)
    memory.declare_parameters(func)
    depth = _common_axes(program, memory.polynomials)
    depth = min(depth, *(_row_limit(func, traits, stage) for stage in program.stages))
    if depth == 0 or all(static(a.extent) == 1 for a in program.stages[0].axes[:depth]):
        return None
    rows = program.stages[0].axes[:depth]
    symbolic = False

    def body(task: Expr) -> Stmt:
        nonlocal symbolic
        statements: list[Stmt] = []
        at = [bind(statements, "row", c) for c in decode(task, [a.extent for a in rows])]
        for axis, coordinate in zip(rows, at, strict=True):
            if isinstance(coordinate, Var):
                memory.polynomials.set_range(coordinate, axis.extent)
        homes = home_in_outputs(program, depth, memory)
        for buffer in program.temporaries:
            home = homes.get(hash(buffer))
            if home is not None:
                memory.alias(buffer, home)
                continue
            size = product(list(buffer.ty.shape)[depth:])
            symbolic = symbolic or static(size) is None
            flat = tirx.decl_buffer((size,), buffer.ty.dtype, name=buffer.name)
            statements.append(AllocBuffer(flat))
            memory.place(buffer, flat, depth)
        statements += [emit_stage(memory, _in_row(s, at), False) for s in program.stages]
        return sequence(statements)

    loop = fork(traits, product([a.extent for a in rows]), _work(program), body)
    return finish(func, [*memory.declared, loop], symbolic)


def _common_axes(program: Program, polynomials: Polynomials) -> int:
    """How many leading axes all stages share and all values between them are indexed with."""
    written = {hash(b) for s in program.stages for b in s.written}
    first = program.stages[0]
    depth = 0
    for position in range(min(len(s.axes) for s in program.stages)):
        extent = polynomials.of(first.axes[position].extent)
        for stage in program.stages:
            axis = stage.axes[position]
            if polynomials.of(axis.extent) != extent or not stage.plain:
                return depth
            accesses = [
                load.indices[position]
                for value in stage.values
                for load in loads(value)
                if hash(load.source) in written
            ]
            if stage.kept is not None:
                accesses.append(stage.kept[1][position])
            one = static(axis.extent) == 1
            if any(not i.same_as(axis.var) and not (one and static(i) == 0) for i in accesses):
                return depth
        depth = position + 1
    return depth


def _row_limit(func: PrimFunc, traits: Traits, stage: Stage) -> int:
    """How many leading axes may become rows without taking away the stage's vectors."""
    proper = [i for i, a in enumerate(stage.axes) if static(a.extent) != 1]
    if not proper:
        return len(stage.axes)
    if stage.combiner is None:
        widest = max(len(load.indices) for load in loads(stage.value)) if loads(stage.value) else 0
        return proper[-1] if widest else len(stage.axes)
    memory = Memory(traits)
    memory.declare_parameters(func)
    for buffer in (*stage.written, *(load.source for v in stage.values for load in loads(v))):
        if hash(buffer) not in memory.views:
            memory.declare(buffer)
    return proper[-1] if runs_along_output(memory, stage) else len(stage.axes)


def _in_row(stage: Stage, at: list[Expr]) -> Stage:
    """The stage at one row: its row axes replaced by coordinates, all its variables fresh."""
    depth = len(at)
    mapping = {hash(a.var): c for a, c in zip(stage.axes, at, strict=False)}

    def fresh(axis: Axis) -> Axis:
        var = Var(axis.var.name, "int64")
        mapping[hash(axis.var)] = var
        return Axis(var, axis.extent)

    axes = tuple(fresh(a) for a in stage.axes[depth:])
    reduced = tuple(fresh(a) for a in stage.reduced)
    return replace(substitute(stage, mapping), axes=axes, reduced=reduced)


def _work(program: Program) -> Expr:
    """Instructions of all stages, as if each ran over the largest domain."""
    largest = max(program.stages, key=lambda s: len(s.axes) + len(s.reduced))
    cost = sum(1 + weight(value) for s in program.stages for value in s.values)
    return product([a.extent for a in (*largest.axes, *largest.reduced)] + [i64(cost)])
