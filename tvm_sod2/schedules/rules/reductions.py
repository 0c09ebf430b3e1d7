"""Emits reductions: accumulators in registers, vectors along an output axis or along the reduced one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import AllocBuffer, BufferLoad, BufferStore, IfThenElse, Stmt, Var

from .access import Memory, Nest, collapse, rename, stride
from .cost import EXPENSIVE, lanes_of, weight
from .loops import bind, ceil_div, decode, fork, i64, product, sequence, serial, static, vector
from .maps import flat_nest
from .polynomial import occurs
from .program import Axis, Stage, loads
from .reducers import Combiner, combine
from .windows import narrow_windows

__all__ = ["emit_reduction", "runs_along_output"]

_COPIES = 4  # independent accumulators, so that one does not wait for the last


class Reduction:
    """A reduction stage, flat and collapsed, with what its loops share."""

    def __init__(self, memory: Memory, stage: Stage) -> None:
        assert stage.combiner is not None and stage.start is not None
        self.memory = memory
        self.combiner: Combiner = stage.combiner
        self.start: Expr = stage.start
        nest, self.guard = narrow_windows(memory, flat_nest(memory, stage), stage.combiner)
        if self.guard is None and not _dependent(nest):
            nest = collapse(memory, collapse(memory, nest, reduced=True))
        elif self.guard is None:
            nest = _without_ones(memory, nest)
        self.nest: Nest = nest
        self.dtype = str(stage.value.ty.dtype)
        self.terms = [nest.value] if nest.kept is None else [nest.value, nest.kept[2]]
        self.lanes = 1 if self.dtype == "bool" else lanes_of(memory.traits, *self.terms)
        cost = sum(weight(term) for term in self.terms)
        self.copies = _COPIES if cost < EXPENSIVE else 2
        self.work = product(
            [a.extent for a in nest.axes] + [a.extent for a in stage.reduced] + [i64(1 + cost)]
        )

    def accumulator(self, size: int, name: str = "acc") -> Var:
        """A buffer small enough to live in registers."""
        return tirx.decl_buffer((size,), self.dtype, name=name)

    def join(self, acc: Var, at: Expr, term: Expr) -> Stmt:
        """``acc[at] = combine(acc[at], term)``."""
        return BufferStore(acc, combine(self.combiner, BufferLoad(acc, [at]), term), [at])

    def step(
        self, acc: Var, at: Expr, put: Callable[[Expr], Expr], valid: Expr | None = None
    ) -> Stmt:
        """Combine the term at some coordinates in, where `valid` holds."""
        term = put(self.nest.value)
        if valid is not None:
            term = tirx.Select(valid, term, self.start)
        joined = self.join(acc, at, term)
        if self.nest.kept is None:
            return joined
        target, offset, value = self.nest.kept
        return sequence([BufferStore(target, put(value), [put(offset)]), joined])

    def strides(self, var: Var) -> list[object]:
        """How far each access of a step moves with `var`."""
        found = [] if self.nest.kept is None else [self.nest.kept[1]]
        found += [load.indices[0] for term in self.terms for load in loads(term)]
        return [stride(self.memory, offset, var) for offset in found]

    def term(self, at: Sequence[Expr], reduced: Sequence[Expr]) -> Callable[[Expr], Expr]:
        """A function that puts coordinates into an expression of the nest."""
        axes = (*self.nest.axes, *self.nest.reduced)
        mapping = {hash(a.var): e for a, e in zip(axes, (*at, *reduced), strict=False)}

        def put(expr: Expr) -> Expr:
            return tvm_ffi.structural_map(expr, [(Var, lambda v: mapping.get(hash(v), v))])

        return put

    def store(self, at: Sequence[Expr], result: Expr) -> Stmt:
        """Write a result through the epilogue."""
        put = self.term(at, [])
        if self.nest.epilogue is not None:
            var, stored = self.nest.epilogue
            stored = put(stored)
            result = tvm_ffi.structural_map(
                stored, [(Var, lambda v: result if v.same_as(var) else v)]
            )
        return BufferStore(self.nest.target, result, [put(self.nest.offset)])

    def guarded(self, put: Callable[[Expr], Expr], update: Stmt) -> Stmt:
        """An update under what is left of a window's guard."""
        return update if self.guard is None else IfThenElse(put(self.guard), update, None)

    def over_reduced(
        self, at: Sequence[Expr], body: Callable[[list[Expr]], Stmt], count: int | None = None
    ) -> Stmt:
        """Serial loops over the first `count` reduced axes (all, if None)."""
        reduced = self.nest.reduced if count is None else self.nest.reduced[:count]
        put = self.term(at, [])

        def level(outer: list[Expr]) -> Stmt:
            if len(outer) == len(reduced):
                return body(outer)
            extent = put(reduced[len(outer)].extent)
            return serial(extent, lambda k: level([*outer, k]), "k")

        return level([])


def emit_reduction(memory: Memory, stage: Stage, parallel: bool) -> Stmt:
    """Loops that compute a reduction stage; a reduction over nothing gives the identity."""
    reduction = Reduction(memory, stage)
    if _along_output(reduction):
        return _columns(reduction, parallel)
    if _along_reduced(reduction):
        return _rows(reduction, parallel, _vector_row)
    return _rows(reduction, parallel, _scalar_row)


def runs_along_output(memory: Memory, stage: Stage) -> bool:
    """Whether the vectors of a reduction run along its last output axis."""
    return _along_output(Reduction(memory, stage))


def _along_output(reduction: Reduction) -> bool:
    nest = reduction.nest
    if not nest.axes or reduction.lanes == 1:
        return False
    size = static(nest.axes[-1].extent)
    if size is not None and size < 4 and _along_reduced(reduction):
        return False
    memory, var = reduction.memory, nest.axes[-1].var
    if stride(memory, nest.offset, var) != 1:
        return False
    strides = reduction.strides(var)
    return 1 in strides and all(s in (0, 1) for s in strides)


def _along_reduced(reduction: Reduction) -> bool:
    nest = reduction.nest
    if not nest.reduced or reduction.lanes == 1 or reduction.guard is not None or _dependent(nest):
        return False
    size = static(nest.reduced[-1].extent)
    if size is not None and size < 4:
        return False
    strides = reduction.strides(nest.reduced[-1].var)
    return 1 in strides and all(s in (0, 1) for s in strides)


def _columns(reduction: Reduction, parallel: bool) -> Stmt:
    """Vectors along the last output axis, each with all of its reduction in registers."""
    axes = reduction.nest.axes
    outer, inner = axes[:-1], axes[-1]
    block = reduction.lanes * reduction.copies
    blocks = ceil_div(inner.extent, block)
    if not parallel:
        return _each(outer, [], lambda at: _strip(reduction, at, inner))
    if len(outer) >= 2:  # rows inside of a task: its coordinates are divisions
        task_axes, rows = outer[:-1], outer[-1]

        def task_rows(task: Expr) -> Stmt:
            bound: list[Stmt] = []
            at = [bind(bound, "at", c) for c in decode(task, [a.extent for a in task_axes])]
            loop = serial(rows.extent, lambda r: _strip(reduction, [*at, r], inner))
            return sequence([*bound, loop])

        tasks = product([a.extent for a in task_axes])
        return fork(reduction.memory.traits, tasks, reduction.work, task_rows)
    extents = [a.extent for a in outer] + [blocks]

    def task_block(task: Expr) -> Stmt:
        bound: list[Stmt] = []
        *at, index = [bind(bound, "at", c) for c in decode(task, extents)]
        return sequence([*bound, _block(reduction, at, inner, index)])

    return fork(reduction.memory.traits, product(extents), reduction.work, task_block)


def _strip(reduction: Reduction, at: list[Expr], inner: Axis) -> Stmt:
    blocks = ceil_div(inner.extent, reduction.lanes * reduction.copies)
    if static(blocks) == 1:
        return _block(reduction, at, inner, i64(0))
    return serial(blocks, lambda index: _block(reduction, at, inner, index), "block")


def _block(reduction: Reduction, at: list[Expr], inner: Axis, index: Expr) -> Stmt:
    """One block of the output axis: full, or what is left of it by single vectors."""
    lanes, copies = reduction.lanes, reduction.copies
    size, block = static(inner.extent), lanes * copies
    base = index * i64(block)
    if size is not None and size < lanes:
        width = 1
        while width * 2 <= size:
            width *= 2
        starts = range(0, size - width + 1, width)
        tiles = [_tile(reduction, at, i64(start), width, 1) for start in starts]
        if size % width:
            tiles.append(_tile(reduction, at, i64(size - width), width, 1))
        return sequence(tiles)
    if size is not None and size < block:
        tiles = [_tile(reduction, at, i64(0), lanes, size // lanes)]
        if size % lanes:
            tiles.append(_tile(reduction, at, i64(size - lanes), lanes, 1))
        return sequence(tiles)
    full = _tile(reduction, at, base, lanes, copies)
    if size is not None and size % block == 0:
        return full
    left = ceil_div(inner.extent - base, lanes)
    rest = serial(
        left,
        lambda j: _tile(
            reduction, at, tirx.Min(base + j * i64(lanes), inner.extent - i64(lanes)), lanes, 1
        ),
        "j",
    )
    if size is None:
        scalars = serial(inner.extent, lambda i: _tile(reduction, at, i, 1, 1))
        rest = IfThenElse(inner.extent >= i64(lanes), rest, scalars)
    return IfThenElse(base + i64(block) <= inner.extent, full, rest)


def _tile(reduction: Reduction, at: list[Expr], base: Expr, width: int, copies: int) -> Stmt:
    """`copies` vectors of the output from `base` on."""
    acc = reduction.accumulator(width * copies)
    starts = [i64(c * width) for c in range(copies)]
    statements: list[Stmt] = []
    start = base if static(base) is not None else bind(statements, "base", base)
    statements.append(AllocBuffer(acc))
    for first in starts:
        statements.append(
            vector(width, lambda lane, f=first: BufferStore(acc, reduction.start, [f + lane]))
        )

    def update(reduced: list[Expr], first: Expr) -> Stmt:
        def lane_update(lane: Expr) -> Stmt:
            put = reduction.term([*at, start + first + lane], reduced)
            return reduction.step(acc, first + lane, put)

        return vector(width, lane_update)

    def step(reduced: list[Expr]) -> Stmt:
        put = reduction.term([*at, start], reduced)
        return reduction.guarded(put, sequence([update(reduced, first) for first in starts]))

    statements.append(reduction.over_reduced([*at, start], step))
    for first in starts:
        statements.append(
            vector(
                width,
                lambda lane, f=first: reduction.store(
                    [*at, start + f + lane], BufferLoad(acc, [f + lane])
                ),
            )
        )
    return sequence(statements)


def _rows(
    reduction: Reduction, parallel: bool, row: Callable[[Reduction, list[Expr]], Stmt]
) -> Stmt:
    axes = reduction.nest.axes
    if not parallel or not axes:
        return _each(axes, [], lambda at: row(reduction, at))

    def body(task: Expr) -> Stmt:
        bound: list[Stmt] = []
        at = [bind(bound, "at", c) for c in decode(task, [a.extent for a in axes])]
        return sequence([*bound, row(reduction, at)])

    tasks = product([a.extent for a in axes])
    return fork(reduction.memory.traits, tasks, reduction.work, body)


def _scalar_row(reduction: Reduction, at: list[Expr]) -> Stmt:
    acc = reduction.accumulator(1)

    def step(reduced: list[Expr]) -> Stmt:
        put = reduction.term(at, reduced)
        return reduction.guarded(put, reduction.step(acc, i64(0), put))

    return sequence(
        [
            AllocBuffer(acc),
            BufferStore(acc, reduction.start, [i64(0)]),
            reduction.over_reduced(at, step),
            reduction.store(at, BufferLoad(acc, [i64(0)])),
        ]
    )


def _vector_row(reduction: Reduction, at: list[Expr]) -> Stmt:
    """Partial results per lane along the last reduced axis; the rest under a mask."""
    inner = reduction.nest.reduced[-1]
    size, lanes, copies = static(inner.extent), reduction.lanes, reduction.copies
    while size is not None and lanes > size:
        lanes //= 2
    if size is not None:
        copies = max(1, min(copies, size // lanes))
    acc = reduction.accumulator(lanes * copies)
    one = reduction.accumulator(1, "result")

    def update(outer: list[Expr], base: Expr, copy: int, first_valid: Expr | None = None) -> Stmt:
        def at_lane(lane: Expr) -> Stmt:
            put = reduction.term(at, [*outer, base + lane])
            valid = None
            if first_valid is not None:
                valid = tirx.Cast("int32", lane) >= tirx.Cast("int32", first_valid)
            return reduction.step(acc, i64(copy * lanes) + lane, put, valid)

        return vector(lanes, at_lane)

    def vectors(outer: list[Expr]) -> Stmt:
        block = lanes * copies
        blocks = tirx.FloorDiv(inner.extent, i64(block)) if size is None else i64(size // block)
        singles = (
            tirx.FloorDiv(tirx.FloorMod(inner.extent, i64(block)), i64(lanes))
            if size is None
            else i64(size % block // lanes)
        )
        rest = tirx.FloorMod(inner.extent, i64(lanes)) if size is None else i64(size % lanes)
        parts = [
            serial(
                blocks,
                lambda j: sequence(
                    [update(outer, j * i64(block) + i64(c * lanes), c) for c in range(copies)]
                ),
                "j",
            )
        ]
        if static(singles) != 0:
            after = blocks * i64(block)
            parts.append(serial(singles, lambda j: update(outer, after + j * i64(lanes), 0), "j"))
        if static(rest) != 0:
            tail = update(outer, inner.extent - i64(lanes), 0, i64(lanes) - rest)
            parts.append(tail if size is not None else IfThenElse(rest > i64(0), tail, None))
        return sequence(parts)

    outer_count = len(reduction.nest.reduced) - 1
    fill = [
        vector(lanes, lambda lane, c=c: BufferStore(acc, reduction.start, [i64(c * lanes) + lane]))
        for c in range(copies)
    ]
    whole = sequence(
        [
            *fill,
            reduction.over_reduced(at, vectors, outer_count),
            *_fold(reduction, acc, lanes, copies),
            BufferStore(one, BufferLoad(acc, [i64(0)]), [i64(0)]),
        ]
    )
    if size is None:
        short = sequence(
            [
                BufferStore(one, reduction.start, [i64(0)]),
                reduction.over_reduced(
                    at,
                    lambda k: reduction.step(one, i64(0), reduction.term(at, k)),
                ),
            ]
        )
        whole = IfThenElse(inner.extent >= i64(lanes), whole, short)
    return sequence(
        [
            AllocBuffer(acc),
            AllocBuffer(one),
            whole,
            reduction.store(at, BufferLoad(one, [i64(0)])),
        ]
    )


def _fold(reduction: Reduction, acc: Var, lanes: int, copies: int) -> list[Stmt]:
    """Join the copies, then halves of the vector, into acc[0]."""
    statements: list[Stmt] = []
    for copy in range(1, copies):
        statements.append(
            vector(
                lanes,
                lambda lane, c=copy: reduction.join(
                    acc, lane, BufferLoad(acc, [i64(c * lanes) + lane])
                ),
            )
        )
    width = lanes // 2
    while width:
        statements.append(
            vector(
                width,
                lambda lane, w=width: reduction.join(acc, lane, BufferLoad(acc, [i64(w) + lane])),
            )
        )
        width //= 2
    return statements


def _each(axes: Sequence[Axis], at: list[Expr], body: Callable[[list[Expr]], Stmt]) -> Stmt:
    if len(at) == len(axes):
        return body(at)
    return serial(axes[len(at)].extent, lambda i: _each(axes, [*at, i], body))


def _dependent(nest: Nest) -> bool:
    """Whether narrowed windows made reduced extents depend on output axes."""
    return any(occurs(r.extent, [a.var for a in nest.axes]) for r in nest.reduced)


def _without_ones(memory: Memory, nest: Nest) -> Nest:
    zero = {hash(a.var): i64(0) for a in nest.axes if static(a.extent) == 1}

    def visit(var: Var) -> Expr:
        return zero.get(hash(var), var)

    kept = tuple(a for a in nest.axes if static(a.extent) != 1)
    reduced = tuple(
        Axis(r.var, tvm_ffi.structural_map(r.extent, [(Var, visit)])) for r in nest.reduced
    )
    return rename(memory, nest, zero, axes=kept, reduced=reduced)
