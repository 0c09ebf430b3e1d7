"""Row by row: softmax, layer norm and other chains whose stages share their leading axes.

Before: one loop nest over all rows per stage, each with a buffer between. After: one forked loop
over rows, in which each stage of a row follows the last while the row is in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import AllocBuffer, IfThenElse, PrimFunc, Stmt, Var

from tvm_sod2.schedules.grain import MOVED
from tvm_sod2.schedules.rules.access import Memory
from tvm_sod2.schedules.rules.cost import weight
from tvm_sod2.schedules.rules.loops import (
    bind,
    ceil_div,
    decode,
    fork,
    i64,
    product,
    sequence,
    static,
)
from tvm_sod2.schedules.rules.polynomial import Polynomials
from tvm_sod2.schedules.rules.program import Axis, Program, Stage, loads, substitute
from tvm_sod2.schedules.rules.reductions import runs_along_output
from tvm_sod2.schedules.rules.stages import emit_stage, finish, home_in_outputs, reduced_program
from tvm_sod2.schedules.traits import Traits

__all__ = ["schedule_rows"]


_TILE = 64  # columns of a tile


def schedule_rows(func: PrimFunc, traits: Traits) -> PrimFunc | None:
    """Fuse the stages of each row; None where there is one stage only or no common row."""
    program = reduced_program(func)
    if program is None or len(program.stages) < 2:
        return None
    memory = Memory(traits)
    memory.declare_parameters(func)
    common = _common_axes(program, memory.polynomials, 0)
    leading = min(common, *(_row_limit(func, traits, stage) for stage in program.stages))
    trailing = _common_axes(program, memory.polynomials, leading, backwards=True)
    axes = program.stages[0].axes
    if not trailing or not _worth_tiling(func, traits, program):
        trailing = 0
        if all(static(a.extent) == 1 for a in axes[:leading]):
            return None
    rows = _Rows(memory, program, leading, trailing)
    loop = fork(traits, product(rows.extents), _work(program), rows.row)
    return finish(func, [*memory.declared, loop], rows.symbolic)


@dataclass
class _Rows:
    """A loop over rows, or over tiles of columns where the last `trailing` axes are shared too.

    Softmax along the channels of (n, c, h, w), for one, takes 64 columns of w at a time through all
    of its stages, so that what lies between these is as small as a tile.
    """

    memory: Memory
    program: Program
    leading: int
    trailing: int
    symbolic: bool = False

    @property
    def shared(self) -> list[Axis]:
        """The axes that become coordinates: leading ones, and the trailing ones but the last."""
        axes = self.program.stages[0].axes
        return [*axes[: self.leading], *(axes[-self.trailing : -1] if self.trailing else ())]

    @property
    def extents(self) -> list[Expr]:
        """Extents of the loop over rows and tiles."""
        extents = [a.extent for a in self.shared]
        if not self.trailing:
            return extents
        return [*extents, ceil_div(self.program.stages[0].axes[-1].extent, _TILE)]

    def row(self, task: Expr) -> Stmt:
        """All stages of one row or tile."""
        statements: list[Stmt] = []
        at = [bind(statements, "row", c) for c in decode(task, self.extents)]
        for axis, coordinate in zip(self.shared, at, strict=False):
            if isinstance(coordinate, Var):
                self.memory.polynomials.set_range(coordinate, axis.extent)
        if not self.trailing:
            return sequence([*statements, *self._stages(at, None, None)])
        extent = self.program.stages[0].axes[-1].extent
        base = bind(statements, "base", at.pop() * i64(_TILE))
        full = sequence(self._stages(at, base, i64(_TILE)))
        if (known := static(extent)) is not None and known % _TILE == 0:
            return sequence([*statements, full])
        count: list[Stmt] = []
        width = bind(count, "width", extent - base)
        rest = sequence([*count, *self._stages(at, base, width)])
        return sequence([*statements, IfThenElse(base + i64(_TILE) <= extent, full, rest)])

    def _stages(self, at: list[Expr], base: Expr | None, width: Expr | None) -> list[Stmt]:
        statements: list[Stmt] = []
        homes = home_in_outputs(self.program, self.leading, self.memory)
        for buffer in self.program.temporaries:
            home = homes.get(hash(buffer))
            if home is not None:
                self.memory.alias(buffer, home)
                continue
            rank = len(buffer.ty.shape)
            axes = list(range(self.leading, rank - self.trailing))
            shape = [buffer.ty.shape[axis] for axis in axes]
            if base is not None:
                axes, shape = [*axes, rank - 1], [*shape, i64(_TILE)]
            size = product(shape)
            self.symbolic = self.symbolic or static(size) is None
            flat = tirx.decl_buffer((size,), buffer.ty.dtype, name=buffer.name)
            statements.append(AllocBuffer(flat))
            self.memory.place(buffer, flat, shape, axes)
            if base is not None:
                self.memory.place_tile(buffer, base)
        stages = [self._in_row(stage, at, base, width) for stage in self.program.stages]
        return [*statements, *(emit_stage(self.memory, stage, False) for stage in stages)]

    def _in_row(self, stage: Stage, at: list[Expr], base: Expr | None, width: Expr | None) -> Stage:
        """The stage at one row: its row axes replaced by coordinates, all its variables fresh."""
        last = stage.axes[len(stage.axes) - self.trailing :]
        mapping: dict[int, Expr] = {
            hash(a.var): c
            for a, c in zip((*stage.axes[: self.leading], *last[:-1]), at, strict=True)
        }

        def fresh(axis: Axis) -> Axis:
            var = Var(axis.var.name, "int64")
            mapping[hash(axis.var)] = var
            return Axis(var, axis.extent)

        middle = stage.axes[self.leading : len(stage.axes) - self.trailing]
        axes = [fresh(a) for a in middle]
        reduced = tuple(fresh(a) for a in stage.reduced)
        if base is not None and width is not None:
            column = Var(last[-1].var.name, "int64")
            mapping[hash(last[-1].var)] = base + column
            axes.append(Axis(column, width))
        return replace(substitute(stage, mapping), axes=tuple(axes), reduced=reduced)


def _common_axes(
    program: Program, polynomials: Polynomials, taken: int, backwards: bool = False
) -> int:
    """How many outermost (or innermost) axes all stages share.

    Values between the stages must be indexed with them. `taken` axes at the other end do not count.
    """
    written = {hash(b) for s in program.stages for b in s.written}
    first = program.stages[0]
    for count in range(min(len(s.axes) for s in program.stages) - taken):
        position = -1 - count if backwards else count
        extent = polynomials.of(first.axes[position].extent)
        for stage in program.stages:
            axis = stage.axes[position]
            if polynomials.of(axis.extent) != extent or not stage.plain:
                return count
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
                return count
    return min(len(s.axes) for s in program.stages) - taken


def _worth_tiling(func: PrimFunc, traits: Traits, program: Program) -> bool:
    """Whether a reduction runs along the last output axis, and that is longer than a tile."""
    size = static(program.stages[0].axes[-1].extent)
    if size is not None and size <= _TILE:
        return False
    return any(
        stage.combiner is not None and _along_output(func, traits, stage)
        for stage in program.stages
    )


def _row_limit(func: PrimFunc, traits: Traits, stage: Stage) -> int:
    """How many leading axes may become rows without taking away the stage's vectors."""
    proper = [i for i, a in enumerate(stage.axes) if static(a.extent) != 1]
    if not proper:
        return len(stage.axes)
    if stage.combiner is None:
        widest = max(len(load.indices) for load in loads(stage.value)) if loads(stage.value) else 0
        return proper[-1] if widest else len(stage.axes)
    return proper[-1] if _along_output(func, traits, stage) else len(stage.axes)


def _along_output(func: PrimFunc, traits: Traits, stage: Stage) -> bool:
    memory = Memory(traits)
    memory.declare_parameters(func)
    for buffer in (*stage.written, *(load.source for v in stage.values for load in loads(v))):
        if hash(buffer) not in memory.views:
            memory.declare(buffer)
    return runs_along_output(memory, stage)


def _work(program: Program) -> Expr:
    """Instructions of all stages, as if each ran over the largest domain."""
    largest = max(program.stages, key=lambda s: len(s.axes) + len(s.reduced))
    cost = MOVED + sum(1 + weight(value) for s in program.stages for value in s.values)
    return product([a.extent for a in (*largest.axes, *largest.reduced)] + [i64(cost)])
