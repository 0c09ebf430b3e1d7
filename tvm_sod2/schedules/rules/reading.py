"""Reads PrimFuncs as FuseTIR leaves them into stages.

A stage is one perfect loop nest over one block: a map `out[i...] = value` or a reduction
`out[i...] = combine(out[i...], value)`. A function that is not a plain sequence of such nests
(opaque blocks, scans, predicates, writes that depend on data) is not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tvm import s_tir, tirx
from tvm.ir import Expr
from tvm.tirx import PrimFunc, Var

from tvm_sod2.schedules.rules.extremes import Extreme, read_extreme
from tvm_sod2.schedules.rules.loops import product
from tvm_sod2.schedules.rules.polynomial import put
from tvm_sod2.schedules.rules.program import Axis, Program, Stage, loads
from tvm_sod2.schedules.rules.reducers import Combiner, combiner_of, identity

__all__ = ["read_program"]


def read_program(func: PrimFunc) -> Program | None:
    """The stages of a PrimFunc as FuseTIR leaves it, or None where its form is another."""
    root = func.body
    if not isinstance(root, s_tir.SBlockRealize) or len(root.block.iter_vars):
        return None
    block = root.block
    if block.init is not None or len(block.match_buffers) or len(block.annotations):
        return None
    body = block.body
    nests = list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]
    stages: list[Stage] = []
    temporaries = list(block.alloc_buffers)
    for nest in nests:
        read = _read_nest(nest)
        if read is None:
            return None
        stages.extend(read.stages)
        temporaries.extend(read.temporaries)
    program = Program(func, stages, temporaries)
    return program if _in_order(program) else None


@dataclass
class _Read:
    """What one nest was read as, and the buffers invented for it."""

    stages: list[Stage]
    temporaries: list[Var] = field(default_factory=list)


@dataclass(frozen=True)
class _Nest:
    """The loops of a reducing block."""

    name: str
    axes: tuple[Axis, ...]
    reduced: tuple[Axis, ...]

    def reduction(
        self, buffer: Var, indices: Sequence[Expr], combiner: Combiner, term: Expr, start: Expr
    ) -> Stage:
        """A reduction of a term over these loops."""
        start = identity(combiner, start)
        return Stage(
            self.name, buffer, self.axes, tuple(indices), term, self.reduced, combiner, start
        )

    def extreme(
        self, extreme: Extreme, index: tirx.BufferStore, value: tirx.BufferStore, start: Expr
    ) -> _Read:
        """An argmax or argmin: the extreme, its place in int32, and the index of that."""
        indices = list(index.indices)
        place = tirx.decl_buffer(index.buffer.ty.shape, "int32", name=f"{self.name}_place")
        combiner, term, none = extreme.place(value.buffer, list(value.indices))
        found = self.reduction(place, indices, combiner, term, none)
        extent = product([a.extent for a in self.reduced])
        dtype = str(index.buffer.ty.dtype)
        at = extreme.index_of(tirx.BufferLoad(place, indices), dtype, extent)
        stages = [
            self.reduction(value.buffer, value.indices, extreme.combiner, extreme.term, start),
            found,
            Stage(self.name, index.buffer, self.axes, tuple(indices), at),
        ]
        return _Read(stages, [place])


def _read_nest(nest: tirx.Stmt) -> _Read | None:
    loops: list[tuple[Var, Expr]] = []
    while isinstance(nest, tirx.For):
        if nest.kind != tirx.ForKind.SERIAL or not _is_zero(nest.min) or len(nest.annotations):
            return None
        loops.append((nest.loop_var, nest.extent))
        nest = nest.body
    if not isinstance(nest, s_tir.SBlockRealize) or not _is_true(nest.predicate):
        return None
    block = nest.block
    if len(block.alloc_buffers) or len(block.match_buffers):
        return None
    axes: list[Axis] = []
    reduced: list[Axis] = []
    seen: set[int] = set()
    for iter_var, value in zip(block.iter_vars, nest.iter_values, strict=True):
        if not _is_zero(iter_var.dom.min):
            return None
        if not any(value.same_as(var) for var, _ in loops) or hash(value) in seen:
            if not _is_zero(value):
                return None
        else:
            seen.add(hash(value))
        if iter_var.iter_type not in (tirx.IterVar.DataPar, tirx.IterVar.CommReduce):
            return None
        target = axes if iter_var.iter_type == tirx.IterVar.DataPar else reduced
        target.append(Axis(iter_var.var, iter_var.dom.extent))
    if len(seen) != len(loops):
        return None
    return _read_block(block, tuple(axes), tuple(reduced))


def _read_block(
    block: s_tir.SBlock, axes: tuple[Axis, ...], reduced: tuple[Axis, ...]
) -> _Read | None:
    body = list(block.body.seq) if isinstance(block.body, tirx.SeqStmt) else [block.body]
    bound: dict[int, Expr] = {}
    stores: list[tirx.BufferStore] = []
    for stmt in body:
        if isinstance(stmt, tirx.Bind):
            bound[hash(stmt.var)] = stmt.value
        elif isinstance(stmt, tirx.BufferStore):
            stores.append(stmt)
        else:
            return None
    if not stores or any(not isinstance(s.buffer, Var) for s in stores):
        return None
    if block.init is None:
        if reduced or len(stores) != 1 or bound:
            return None
        store = stores[0]
        if any(load.source.same_as(store.buffer) for load in loads(store.value)):
            return None
        stage = Stage(block.name_hint, store.buffer, axes, tuple(store.indices), store.value)
        return _Read([stage])
    inits = list(block.init.seq) if isinstance(block.init, tirx.SeqStmt) else [block.init]
    if len(inits) != len(stores) or any(not isinstance(i, tirx.BufferStore) for i in inits):
        return None
    if any(not s.buffer.same_as(i.buffer) for s, i in zip(stores, inits, strict=True)):
        return None

    def inline(store: tirx.BufferStore) -> tirx.BufferStore:
        value = put(store.value, bound)
        return tirx.BufferStore(store.buffer, value, store.indices)

    stores = [inline(store) for store in stores]
    nest = _Nest(block.name_hint, axes, reduced)
    if len(stores) == 2:
        for index, value in (stores, stores[::-1]):
            extreme = read_extreme(index, value)
            if extreme is not None:
                init = next(i.value for i in inits if i.buffer.same_as(value.buffer))
                return nest.extreme(extreme, index, value, init)
    stages = []
    for store, init in zip(stores, inits, strict=True):
        found = combiner_of(store.value, store)
        if found is None:
            return None
        combiner, term = found
        if any(load.source.same_as(s.buffer) for load in loads(term) for s in stores):
            return None  # accumulators that depend on each other
        stages.append(nest.reduction(store.buffer, store.indices, combiner, term, init.value))
    return _Read(stages)


def _in_order(program: Program) -> bool:
    """Whether each buffer is written by one stage only, before it is read."""
    written: set[int] = set()
    for stage in program.stages:
        for load in loads(stage.value):
            if program.is_temporary(load.source) and hash(load.source) not in written:
                return False
        if hash(stage.buffer) in written:
            return False
        written.add(hash(stage.buffer))
    outputs = {hash(s.buffer) for s in program.stages if not program.is_temporary(s.buffer)}
    return bool(outputs)


def _is_zero(expr: Expr) -> bool:
    return isinstance(expr, tirx.IntImm) and int(expr.value) == 0


def _is_true(expr: Expr) -> bool:
    return isinstance(expr, tirx.IntImm) and int(expr.value) == 1
