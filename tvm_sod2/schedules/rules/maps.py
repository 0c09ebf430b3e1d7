"""Emits maps: flat, collapsed, forked over outer axes, vectors along the contiguous one."""

from __future__ import annotations

from collections.abc import Sequence

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr
from tvm.tirx import BufferStore, Stmt, Var

from .access import Memory, Nest, collapse, offsets, stride
from .cost import lanes_of, weight
from .loops import (
    bind,
    ceil_div,
    cover,
    decode,
    fork,
    i64,
    product,
    sequence,
    serial,
    static,
    vector,
)
from .program import Axis, Stage, loads
from .regions import split_regions
from .transposes import emit_transposed

__all__ = ["emit_map", "flat_nest"]

_TASK_VECTORS = 512  # vectors of a task where one axis is all there is
_TASK_ELEMENTS = 8192  # elements of a task's rows


def flat_nest(memory: Memory, stage: Stage) -> Nest:
    """The stage over the flat views of `memory`."""
    for axis in (*stage.axes, *stage.reduced):
        memory.polynomials.set_range(axis.var, axis.extent)
    offset = memory.polynomials.expr(memory.offset(stage.buffer, stage.indices))
    value = memory.flatten(stage.value)
    epilogue = stage.epilogue
    if epilogue is not None:
        epilogue = (epilogue[0], memory.flatten(epilogue[1]))
    kept = stage.kept
    flat_kept = None
    if kept is not None:
        kept_offset = memory.polynomials.expr(memory.offset(kept[0], kept[1]))
        flat_kept = (memory.view(kept[0]), kept_offset, memory.flatten(kept[2]))
    target = memory.view(stage.buffer)
    return Nest(target, offset, value, stage.axes, stage.reduced, epilogue, flat_kept)


def emit_map(memory: Memory, stage: Stage, parallel: bool) -> Stmt:
    """Loops that compute a map stage; `parallel`: they may fork."""
    nests = split_regions(memory, flat_nest(memory, stage))
    return sequence([_emit(memory, collapse(memory, nest), parallel) for nest in nests])


def _emit(memory: Memory, nest: Nest, parallel: bool) -> Stmt:
    axes = nest.axes
    if not axes:
        return BufferStore(nest.target, nest.value, [nest.offset])
    if stride(memory, nest.offset, axes[-1].var) != 1:
        return _plain(memory, nest, 1, parallel)
    strides = [stride(memory, o, axes[-1].var) for o in offsets(nest)]
    # Strided or data-dependent loads are taken lane by lane anyway: scalar code is as good.
    useful = all(s in (0, 1) for s in strides) or 1 in strides[1:]
    lanes = lanes_of(memory.traits, nest.value) if useful else 1

    def plain() -> Stmt:
        return _plain(memory, nest, lanes, parallel)

    return emit_transposed(memory, nest, parallel, plain) or plain()


def _plain(memory: Memory, nest: Nest, lanes: int, parallel: bool) -> Stmt:
    axes = nest.axes
    nest = _without_branches(nest)

    def element(outer: Sequence[Expr], base: Expr, width: int) -> Stmt:
        return vector(width, lambda lane: _store(nest, axes, [*outer, base + lane]))

    if not parallel:
        return _serial(axes[:-1], axes[-1], lanes, nest.in_place, element, [])
    return _forked(memory, nest, axes, lanes, element)


def _serial(
    outer: Sequence[Axis],
    inner: Axis,
    lanes: int,
    in_place: bool,
    element,  # noqa: ANN001
    at: list[Expr],
) -> Stmt:
    if len(at) == len(outer):
        return cover(
            inner.extent, lanes, lambda base, width: element(at, base, width), not in_place
        )
    return serial(
        outer[len(at)].extent,
        lambda i: _serial(outer, inner, lanes, in_place, element, [*at, i]),
    )


def _forked(memory: Memory, nest: Nest, axes: Sequence[Axis], lanes: int, element) -> Stmt:  # noqa: ANN001
    """Tasks are (outer coordinates, block of rows, block of the contiguous axis)."""
    inner = axes[-1]
    work = product([a.extent for a in axes] + [i64(max(1, weight(nest.value)))])
    block = lanes * _TASK_VECTORS
    pieces = ceil_div(inner.extent, block)
    if len(axes) == 1:
        return fork(
            memory.traits,
            pieces,
            work,
            lambda task: _piece(inner, lanes, nest.in_place, block, task, element, []),
        )
    rows = axes[-2].extent
    prologue: list[Stmt] = []
    size = static(inner.extent)
    if size is not None:
        depth: Expr = i64(max(1, _TASK_ELEMENTS // max(1, size)))
    else:
        depth = bind(
            prologue,
            "depth",
            tirx.FloorDiv(
                i64(_TASK_ELEMENTS), tirx.Max(tirx.Min(inner.extent, i64(_TASK_ELEMENTS)), i64(1))
            ),
        )
    blocks = bind(prologue, "blocks", tirx.FloorDiv(rows + depth - i64(1), depth))
    extents = [a.extent for a in axes[:-2]] + [blocks, pieces]

    def body(task: Expr) -> Stmt:
        bound: list[Stmt] = []
        *outer, row_block, piece = [bind(bound, "at", c) for c in decode(task, extents)]
        first = bind(bound, "first", row_block * depth)
        loop = serial(
            tirx.Min(depth, rows - first),
            lambda r: _piece(
                inner, lanes, nest.in_place, block, piece, element, [*outer, first + r]
            ),
        )
        return sequence([*bound, loop])

    return sequence([*prologue, fork(memory.traits, product(extents), work, body)])


def _piece(
    inner: Axis,
    lanes: int,
    in_place: bool,
    block: int,
    piece: Expr,
    element,
    at: list[Expr],  # noqa: ANN001
) -> Stmt:
    size = static(inner.extent)
    if size is not None and size <= block:
        return cover(
            inner.extent, lanes, lambda base, width: element(at, base, width), not in_place
        )
    bound: list[Stmt] = []
    start = bind(bound, "start", piece * i64(block))
    count = bind(bound, "count", tirx.Min(i64(block), inner.extent - start))
    loop = cover(count, lanes, lambda base, width: element(at, start + base, width), not in_place)
    return sequence([*bound, loop])


def _store(nest: Nest, axes: Sequence[Axis], at: Sequence[Expr]) -> Stmt:
    mapping = {hash(a.var): e for a, e in zip(axes, at, strict=True)}

    def visit(var: Var) -> Expr:
        return mapping.get(hash(var), var)

    entries = [(Var, visit)]
    return BufferStore(
        nest.target,
        tvm_ffi.structural_map(nest.value, entries),
        [tvm_ffi.structural_map(nest.offset, entries)],
    )


def _without_branches(nest: Nest) -> Nest:
    """Turn a branch whose sides load nothing into a select, which vectorises."""

    def visit(call: Call) -> Expr:
        if getattr(call.op, "name", "") != "prim.if_then_else":
            return call
        condition, first, second = call.args
        if loads(first) or loads(second):
            return call
        return tirx.Select(condition, first, second)

    value = tvm_ffi.structural_map(nest.value, [(Call, visit)])
    return Nest(nest.target, nest.offset, value, nest.axes, nest.reduced)
