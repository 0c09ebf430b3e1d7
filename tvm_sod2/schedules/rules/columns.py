"""Reductions whose vectors run along the last output axis: pooling, sums over rows."""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import AllocBuffer, BufferLoad, IfThenElse, Stmt, Var

from tvm_sod2.schedules.rules.loops import (
    below,
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
from tvm_sod2.schedules.rules.reducers import Combiner
from tvm_sod2.schedules.rules.reduction import Reduction

__all__ = ["emit_columns"]

_RUN = 64
"""Terms of a float sum that go into one partial sum: the rounding error grows with the length of a
run and with the number of runs instead of with their product."""


def emit_columns(reduction: Reduction, parallel: bool, borders: Reduction | None = None) -> Stmt:
    """Vectors along the last output axis, each with all of its reduction in registers.

    Before and behind the reduction's span of that axis `borders` are computed, one by one.
    """
    axes = reduction.nest.axes
    outer, inner = axes[:-1], axes[-1]
    block = reduction.lanes(inner.var) * reduction.copies
    blocks = ceil_div(inner.extent, block)

    def row(at: list[Expr]) -> Stmt:
        if borders is None:
            return _strip(reduction, at, inner.extent, i64(0))
        return _between(reduction, borders, at, inner.extent)

    if not parallel:
        return each(outer, [], row)
    if len(outer) >= 2:  # rows inside of a task: its coordinates are divisions
        task_axes, rows = outer[:-1], outer[-1]

        def task_rows(task: Expr) -> Stmt:
            bound: list[Stmt] = []
            at = [bind(bound, "at", c) for c in decode(task, [a.extent for a in task_axes])]
            return sequence([*bound, serial(rows.extent, lambda r: row([*at, r]))])

        tasks = product([a.extent for a in task_axes])
        return fork(reduction.memory.traits, tasks, reduction.work, task_rows)
    extents = [a.extent for a in outer] + ([blocks] if borders is None else [])

    def task_block(task: Expr) -> Stmt:
        bound: list[Stmt] = []
        at = [bind(bound, "at", c) for c in decode(task, extents)]
        if borders is not None:
            return sequence([*bound, row(at)])
        return sequence([*bound, _block(reduction, at[:-1], inner.extent, i64(0), at[-1])])

    return fork(reduction.memory.traits, product(extents), reduction.work, task_block)


def _between(reduction: Reduction, borders: Reduction, at: list[Expr], extent: Expr) -> Stmt:
    """A row of which `reduction` computes its span and `borders` the rest."""
    assert reduction.span is not None
    bound: list[Stmt] = []
    start, end = (bind(bound, "edge", edge) for edge in reduction.span)
    return sequence(
        [
            *bound,
            serial(start, lambda i: _tile(borders, at, i, 1, 1)),
            _strip(reduction, at, end - start, start),
            serial(extent - end, lambda i: _tile(borders, at, end + i, 1, 1)),
        ]
    )


def _strip(reduction: Reduction, at: list[Expr], extent: Expr, first: Expr) -> Stmt:
    lanes = reduction.lanes(reduction.nest.axes[-1].var)
    blocks = ceil_div(extent, lanes * reduction.copies)
    if static(blocks) == 1:
        return _block(reduction, at, extent, first, i64(0))
    return serial(blocks, lambda index: _block(reduction, at, extent, first, index), "block")


def _block(reduction: Reduction, at: list[Expr], extent: Expr, first: Expr, index: Expr) -> Stmt:
    """One block of `extent` outputs from `first` on: full, or what is left by single vectors."""
    lanes, copies = reduction.lanes(reduction.nest.axes[-1].var), reduction.copies
    size, block = static(extent), lanes * copies
    base = index * i64(block)

    def tile(start: Expr, width: int, count: int) -> Stmt:
        return _tile(reduction, at, start if static(first) == 0 else first + start, width, count)

    if size is not None and size < lanes:
        width = 1
        while width * 2 <= size:
            width *= 2
        tiles = [tile(i64(start), width, 1) for start in range(0, size - width + 1, width)]
        if size % width:
            tiles.append(tile(i64(size - width), width, 1))
        return sequence(tiles)
    if size is not None and size < block:
        tiles = [tile(i64(0), lanes, size // lanes)]
        if size % lanes:
            tiles.append(tile(i64(size - lanes), lanes, 1))
        return sequence(tiles)
    full = tile(base, lanes, copies)
    if size is not None and size % block == 0:
        return full
    rest = serial(
        ceil_div(extent - base, lanes),
        lambda j: tile(tirx.Min(base + j * i64(lanes), extent - i64(lanes)), lanes, 1),
        "j",
    )
    if size is None:
        short = below(extent, lanes, lambda start, width: tile(start, width, 1))
        rest = IfThenElse(extent >= i64(lanes), rest, short)
    return IfThenElse(base + i64(block) <= extent, full, rest)


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
