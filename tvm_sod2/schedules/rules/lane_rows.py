"""Reductions along the contiguous reduced axis, with a partial result per lane; and plain ones."""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import AllocBuffer, BufferLoad, BufferStore, IfThenElse, Stmt, Var

from tvm_sod2.schedules.rules.loops import (
    bind,
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
from tvm_sod2.schedules.rules.reduction import Reduction

__all__ = ["emit_rows", "scalar_row", "vector_row"]

_NARROWEST = 4  # lanes of the shortest vectors


def emit_rows(
    reduction: Reduction, parallel: bool, row: Callable[[Reduction, list[Expr]], Stmt]
) -> Stmt:
    axes = reduction.nest.axes
    if not parallel or not axes:
        return each(axes, [], lambda at: row(reduction, at))

    def body(task: Expr) -> Stmt:
        bound: list[Stmt] = []
        at = [bind(bound, "at", c) for c in decode(task, [a.extent for a in axes])]
        return sequence([*bound, row(reduction, at)])

    tasks = product([a.extent for a in axes])
    return fork(reduction.memory.traits, tasks, reduction.work, body)


def scalar_row(reduction: Reduction, at: list[Expr]) -> Stmt:
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


def vector_row(reduction: Reduction, at: list[Expr]) -> Stmt:
    """Partial results per lane along the last reduced axis; the rest under a mask."""
    inner = reduction.nest.reduced[-1]
    size, lanes, copies = static(inner.extent), reduction.lanes(inner.var), reduction.copies
    while size is not None and lanes > size:
        lanes //= 2
    if size is not None:
        copies = max(1, min(copies, size // lanes))
    acc = reduction.accumulator(lanes * copies)
    one = reduction.accumulator(1, "result")

    def update(outer: list[Expr], base: Expr, copy: int, first_valid: Expr | None = None) -> Stmt:
        return _update(reduction, acc, at, [*outer, base], lanes, copy * lanes, first_valid)

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
    whole = sequence(
        [
            *(reduction.clear(acc, copy * lanes, lanes) for copy in range(copies)),
            reduction.over_reduced(at, vectors, outer_count),
            *_fold(reduction, acc, lanes, copies),
            BufferStore(one, BufferLoad(acc, [i64(0)]), [i64(0)]),
        ]
    )
    if size is None:
        short = _short_row(reduction, at, acc, one, lanes // 2)
        whole = IfThenElse(inner.extent >= i64(lanes), whole, short)
    return sequence(
        [
            AllocBuffer(acc),
            AllocBuffer(one),
            whole,
            reduction.store(at, BufferLoad(one, [i64(0)])),
        ]
    )


def _update(
    reduction: Reduction,
    acc: Var,
    at: list[Expr],
    reduced: list[Expr],
    lanes: int,
    first: int,
    first_valid: Expr | None = None,
) -> Stmt:
    """Combine a vector of terms from `reduced` on into acc[first:], from `first_valid` on."""

    def at_lane(lane: Expr) -> Stmt:
        put = reduction.term(at, [*reduced[:-1], reduced[-1] + lane])
        valid = None
        if first_valid is not None:
            valid = tirx.Cast("int32", lane) >= tirx.Cast("int32", first_valid)
        return reduction.step(acc, i64(first) + lane, put, valid)

    return vector(lanes, at_lane)


def _short_row(reduction: Reduction, at: list[Expr], acc: Var, one: Var, lanes: int) -> Stmt:
    """A row of less than twice `lanes`: a vector, and one that ends the row, of which what the
    first had does not count; or half of them, and so on."""
    extent = reduction.nest.reduced[-1].extent
    if lanes < _NARROWEST:
        steps = reduction.over_reduced(
            at, lambda k: reduction.step(one, i64(0), reduction.term(at, k))
        )
        return sequence([BufferStore(one, reduction.start, [i64(0)]), steps])

    def both(outer: list[Expr]) -> Stmt:
        begin = _update(reduction, acc, at, [*outer, i64(0)], lanes, 0)
        last, done = extent - i64(lanes), i64(2 * lanes) - extent
        return sequence([begin, _update(reduction, acc, at, [*outer, last], lanes, 0, done)])

    row = sequence(
        [
            reduction.clear(acc, 0, lanes),
            reduction.over_reduced(at, both, len(reduction.nest.reduced) - 1),
            *_fold(reduction, acc, lanes, 1),
            BufferStore(one, BufferLoad(acc, [i64(0)]), [i64(0)]),
        ]
    )
    narrower = _short_row(reduction, at, acc, one, lanes // 2)
    return IfThenElse(extent >= i64(lanes), row, narrower)


def _fold(reduction: Reduction, acc: Var, lanes: int, copies: int) -> list[Stmt]:
    """Join the copies, then halves of the vector, into acc[0]."""
    statements = [reduction.fold(acc, copy * lanes, lanes) for copy in range(1, copies)]
    width = lanes // 2
    while width:
        statements.append(reduction.fold(acc, width, width))
        width //= 2
    return statements
