"""Reductions whose vectors run along the last output axis: pooling, sums over rows."""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import AllocBuffer, BufferLoad, IfThenElse, Stmt, Var

from tvm_sod2.schedules.rules.loops import (
    bind,
    ceil_div,
    decode,
    each,
    fork,
    i64,
    product,
    sequence,
    serial,
    static,
    vector,
)
from tvm_sod2.schedules.rules.program import Axis
from tvm_sod2.schedules.rules.reducers import Combiner
from tvm_sod2.schedules.rules.reduction import Reduction

__all__ = ["emit_columns"]

_RUN = 64
"""Terms of a float sum that go into one partial sum: the rounding error grows with the length of a
run and with the number of runs instead of with their product."""


def emit_columns(reduction: Reduction, parallel: bool) -> Stmt:
    """Vectors along the last output axis, each with all of its reduction in registers."""
    axes = reduction.nest.axes
    outer, inner = axes[:-1], axes[-1]
    block = reduction.lanes(inner.var) * reduction.copies
    blocks = ceil_div(inner.extent, block)
    if not parallel:
        return each(outer, [], lambda at: _strip(reduction, at, inner))
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
    blocks = ceil_div(inner.extent, reduction.lanes(inner.var) * reduction.copies)
    if static(blocks) == 1:
        return _block(reduction, at, inner, i64(0))
    return serial(blocks, lambda index: _block(reduction, at, inner, index), "block")


def _block(reduction: Reduction, at: list[Expr], inner: Axis, index: Expr) -> Stmt:
    """One block of the output axis: full, or what is left of it by single vectors."""
    lanes, copies = reduction.lanes(inner.var), reduction.copies
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
    starts = [c * width for c in range(copies)]
    statements: list[Stmt] = []
    start = base if static(base) is not None else bind(statements, "base", base)
    statements.append(AllocBuffer(acc))
    statements += [reduction.clear(acc, first, width) for first in starts]

    def update(into: Var, reduced: list[Expr], first: int) -> Stmt:
        def lane_update(lane: Expr) -> Stmt:
            put = reduction.term([*at, start + i64(first) + lane], reduced)
            return reduction.step(into, i64(first) + lane, put)

        return vector(width, lane_update)

    def step(into: Var, reduced: list[Expr]) -> Stmt:
        put = reduction.term([*at, start], reduced)
        return reduction.guarded(put, sequence([update(into, reduced, f) for f in starts]))

    def store(first: int) -> Stmt:
        def lane_store(lane: Expr) -> Stmt:
            result = BufferLoad(acc, [i64(first) + lane])
            return reduction.store([*at, start + i64(first) + lane], result)

        return vector(width, lane_store)

    if _sums_in_runs(reduction):
        part = reduction.accumulator(width * copies, "part")
        statements.append(AllocBuffer(part))
        joins = [_join(reduction, acc, part, first, width) for first in starts]
        clears = [reduction.clear(part, first, width) for first in starts]
        statements.append(_in_runs(reduction, [*at, start], clears, lambda k: step(part, k), joins))
    else:
        statements.append(reduction.over_reduced([*at, start], lambda k: step(acc, k)))
    return sequence([*statements, *(store(first) for first in starts)])


def _sums_in_runs(reduction: Reduction) -> bool:
    reduced = reduction.nest.reduced
    if reduction.combiner is not Combiner.SUM or not reduction.dtype.startswith("float"):
        return False
    if not reduced or reduction.nest.kept is not None:
        return False
    size = static(reduced[-1].extent)
    return size is None or size > 2 * _RUN


def _in_runs(
    reduction: Reduction,
    at: list[Expr],
    clears: list[Stmt],
    step: Callable[[list[Expr]], Stmt],
    joins: list[Stmt],
) -> Stmt:
    """The reduced loops, the last one cut into runs that are cleared before and joined after."""
    last = reduction.nest.reduced[-1]
    extent = reduction.term(at, [])(last.extent)

    def body(outer: list[Expr]) -> Stmt:
        def run(index: Expr) -> Stmt:
            begin = index * i64(_RUN)
            length = tirx.Min(extent - begin, i64(_RUN))
            terms = serial(length, lambda k: step([*outer, begin + k]), "k")
            return sequence([*clears, terms, *joins])

        return serial(ceil_div(extent, _RUN), run, "run")

    return reduction.over_reduced(at, body, len(reduction.nest.reduced) - 1)


def _join(reduction: Reduction, acc: Var, part: Var, first: int, width: int) -> Stmt:
    def lane(index: Expr) -> Stmt:
        place = i64(first) + index
        return reduction.join(acc, place, BufferLoad(part, [place]))

    return vector(width, lane)
