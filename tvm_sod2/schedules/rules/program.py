"""A scheduled-later PrimFunc as a list of stages: what FuseTIR's loops and blocks say, without them.

A stage is one perfect loop nest over one block: a map `out[i...] = value` or a reduction
`out[i...] = combine(out[i...], value)`. A function that is not a plain sequence of such nests
(opaque blocks, scans, predicates, writes that depend on data) is not read: `read_program` gives None.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import Expr, TensorLoad
from tvm.tirx import PrimFunc, Var

from .reducers import Combiner, combiner_of, identity

__all__ = ["Axis", "Program", "Stage", "loads", "map_loads", "read_program", "substitute"]


@dataclass(frozen=True)
class Axis:
    """A loop: its variable (int64) runs over [0, extent)."""

    var: Var
    extent: Expr


@dataclass(frozen=True)
class Stage:
    """One loop nest. `value` is what is stored, or, of a reduction, the term that is combined in.

    `epilogue` (variable, expression) is what is stored of a reduction's result, the variable. `kept`
    (buffer, indices, expression) is stored at each step of a reduction before its term is read.
    """

    name: str
    buffer: Var
    axes: tuple[Axis, ...]
    indices: tuple[Expr, ...]
    value: Expr
    reduced: tuple[Axis, ...] = ()
    combiner: Combiner | None = None
    start: Expr | None = None
    epilogue: tuple[Var, Expr] | None = None
    kept: tuple[Var, tuple[Expr, ...], Expr] | None = None

    @property
    def values(self) -> list[Expr]:
        """All expressions the stage evaluates, indices not counted."""
        more = [] if self.epilogue is None else [self.epilogue[1]]
        return [self.value, *more, *([] if self.kept is None else [self.kept[2]])]

    @property
    def written(self) -> list[Var]:
        """The buffers the stage writes."""
        return [self.buffer] if self.kept is None else [self.buffer, self.kept[0]]

    @property
    def plain(self) -> bool:
        """Whether the store's indices are the axes, in order (an axis of extent 1 may be 0)."""
        return len(self.axes) == len(self.indices) and all(
            isinstance(i, Var) and i.same_as(a.var)
            for i, a in zip(self.indices, self.axes, strict=True)
        )

    def reads(self, buffer: Var) -> int:
        """How many loads of `buffer` the value has."""
        return sum(1 for v in self.values for load in loads(v) if load.source.same_as(buffer))


@dataclass
class Program:
    """The stages of a PrimFunc in order; `temporaries` are the buffers it allocates."""

    func: PrimFunc
    stages: list[Stage]
    temporaries: list[Var] = field(default_factory=list)

    def is_temporary(self, buffer: Var) -> bool:
        """Whether the function allocates `buffer` (rather than takes it as a parameter)."""
        return any(buffer.same_as(t) for t in self.temporaries)


def loads(expr: Expr) -> list[TensorLoad]:
    """Every buffer load in an expression, those inside of indices too."""
    found: list[TensorLoad] = []
    tvm_ffi.structural_walk(expr, [(TensorLoad, lambda load: _append(found, load))])
    return found


def map_loads(expr: Expr, change: dict[int, object]) -> Expr:
    """Replace loads: `change` maps a buffer's hash to a function of the (already changed) load."""

    def visit(load: TensorLoad) -> Expr:
        with_buffer = change.get(hash(load.source))
        return load if with_buffer is None else with_buffer(load)  # type: ignore[operator]

    return tvm_ffi.structural_map(expr, [(TensorLoad, visit)])


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
    for nest in nests:
        read = _read_nest(nest)
        if read is None:
            return None
        stages.extend(read)
    program = Program(func, stages, list(block.alloc_buffers))
    return program if _in_order(program) else None


def _read_nest(nest: tirx.Stmt) -> list[Stage] | None:
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
) -> list[Stage] | None:
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
        return [Stage(block.name_hint, store.buffer, axes, tuple(store.indices), store.value)]
    inits = list(block.init.seq) if isinstance(block.init, tirx.SeqStmt) else [block.init]
    if len(inits) != len(stores) or any(not isinstance(i, tirx.BufferStore) for i in inits):
        return None
    stages = []
    for store, init in zip(stores, inits, strict=True):
        if not store.buffer.same_as(init.buffer):
            return None
        value = tvm_ffi.structural_map(store.value, [(Var, lambda v: bound.get(hash(v), v))])
        found = combiner_of(value, store)
        if found is None:
            return None
        combiner, term = found
        if any(load.source.same_as(s.buffer) for load in loads(term) for s in stores):
            return None  # accumulators that depend on each other, argmax for one
        start = identity(combiner, init.value)
        stages.append(
            Stage(
                block.name_hint,
                store.buffer,
                axes,
                tuple(store.indices),
                term,
                reduced,
                combiner,
                start,
            )
        )
    return stages


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


def substitute(stage: Stage, mapping: dict[int, Expr], **changes: object) -> Stage:
    """A stage with variables replaced in its value and indices."""

    def visit(var: Var) -> Expr:
        return mapping.get(hash(var), var)

    def on(expr: Expr) -> Expr:
        return tvm_ffi.structural_map(expr, [(Var, visit)])

    epilogue, kept = stage.epilogue, stage.kept
    return replace(
        stage,
        value=on(stage.value),
        indices=tuple(on(i) for i in stage.indices),
        epilogue=None if epilogue is None else (epilogue[0], on(epilogue[1])),
        kept=None if kept is None else (kept[0], tuple(on(i) for i in kept[1]), on(kept[2])),
        **changes,  # type: ignore[arg-type]
    )


def _is_zero(expr: Expr) -> bool:
    return isinstance(expr, tirx.IntImm) and int(expr.value) == 0


def _is_true(expr: Expr) -> bool:
    return isinstance(expr, tirx.IntImm) and int(expr.value) == 1


def _append(found: list[TensorLoad], load: TensorLoad) -> None:
    found.append(load)
