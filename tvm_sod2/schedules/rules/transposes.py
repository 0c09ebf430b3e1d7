"""Emits maps that read along another axis than they write: square tiles, transposed in registers.

Before: ``for b, f: y[b*F + f] = x[f*B + b]``, one side of which takes a cache line per element.
After: tiles of T rows by T columns, T the lanes of a vector, fewer where an axis is short: T vector
loads along `b`, log2(T) rounds of shuffles, T vector stores along `f`, four tiles side by side at a
time. The last tile of an axis ends at its extent, so some elements are written twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr, TensorLoad
from tvm.tirx import AllocBuffer, BufferLoad, BufferStore, Stmt, Var

from tvm_sod2.schedules.rules.access import Memory, Nest, stride
from tvm_sod2.schedules.rules.cost import weight
from tvm_sod2.schedules.rules.interleaves import emit_interleaved
from tvm_sod2.schedules.rules.loops import (
    bind,
    ceil_div,
    decode,
    fork,
    i64,
    product,
    sequence,
    serial,
    static,
    vector,
)
from tvm_sod2.schedules.rules.program import Axis, loads

__all__ = ["crossed_axis", "emit_transposed"]

_BLOCK = 4
"""Tiles side by side that a task takes before the next channels: caches fetch lines in pairs."""

_SIZES = (4, 8, 16)
"""Rows of a tile: as many as a vector has lanes, fewer where an axis is short. More than 16 are too
many registers."""

_TILE_BYTES = 512  # constant buffers of 1024 bytes and more leave the stack


def emit_transposed(memory: Memory, nest: Nest, parallel: bool, plain: Stmt) -> Stmt | None:
    """Tiled loops for a map contiguous in its store along the last axis; None where no load asks.

    `plain` is what to run where an axis is shorter than the smallest tile.
    """
    if nest.in_place or len(nest.axes) < 2:
        return None
    along = nest.axes[-1]
    across = crossed_axis(memory, nest)
    if across is None:
        return None
    crossed = [
        load
        for load in loads(nest.value)
        if stride(memory, load.indices[0], across.var) == 1
        and stride(memory, load.indices[0], along.var) not in (0, 1)
    ]
    lanes = min(memory.traits.lanes(str(v.ty.dtype)) for v in (nest.value, *crossed))
    sizes = [size for size in _SIZES if size <= lanes]
    result: Stmt | None = None
    for size in sizes:
        small = [a for a in (along, across) if (s := static(a.extent)) is not None and s < size]
        tiled: Stmt | None = None
        if not small:
            tiled = _tiles(memory, nest, along, across, crossed, size, parallel)
        elif len(small) == 1 and size == sizes[-1]:
            pixels = across if small[0] is along else along
            tiled = emit_interleaved(memory, nest, small[0], pixels, size, parallel)
        if tiled is None:
            continue
        known = [a.extent >= i64(size) for a in (along, across) if static(a.extent) is None]
        shorter = plain if result is None else result
        result = tirx.IfThenElse(tirx.all(*known), tiled, shorter) if known else tiled
    return result


def crossed_axis(memory: Memory, nest: Nest) -> Axis | None:
    """The one axis along which the loads are contiguous that are not along the last axis."""
    along = nest.axes[-1]
    found: Axis | None = None
    for load in loads(nest.value):
        step = stride(memory, load.indices[0], along.var)
        if step is None or any(loads(i) for i in load.indices):
            return None
        if step in (0, 1):
            continue
        axes = [a for a in nest.axes[:-1] if stride(memory, load.indices[0], a.var) == 1]
        if len(axes) != 1 or (found is not None and axes[0] is not found):
            return None
        found = axes[0]
    return found


def _tiles(
    memory: Memory,
    nest: Nest,
    along: Axis,
    across: Axis,
    crossed: Sequence[TensorLoad],
    size: int,
    parallel: bool,
) -> Stmt:
    # The axis of known (usually small) extent inside: whole lines on both sides stay in the cache.
    inner, outer = (across, along) if static(along.extent) is None else (along, across)
    others = [a for a in nest.axes if a is not along and a is not across]
    tiles = ceil_div(outer.extent, size)
    extents = [*(a.extent for a in others), ceil_div(tiles, _BLOCK)]

    def body(task: Expr) -> Stmt:
        bound: list[Stmt] = []
        *at, block = [bind(bound, "at", c) for c in decode(task, extents)]
        mapping = {hash(a.var): c for a, c in zip(others, at, strict=True)}
        first = bind(bound, "first", block * i64(_BLOCK))
        here = bind(bound, "here", tirx.Min(i64(_BLOCK), tiles - first))

        def line(j: Expr) -> Stmt:
            statements: list[Stmt] = []
            base = bind(statements, "base", _tile_start(j, inner.extent, size))

            def tile(k: Expr) -> Stmt:
                found: list[Stmt] = []
                start = bind(found, "start", _tile_start(first + k, outer.extent, size))
                starts = {hash(outer.var): start, hash(inner.var): base}
                tile_at = _tile(nest, along, across, crossed, size, {**mapping, **starts})
                return sequence([*found, *tile_at])

            return sequence([*statements, serial(here, tile, "tile")])

        count = ceil_div(inner.extent, size)
        loop = line(i64(0)) if static(count) == 1 else serial(count, line, "line")
        return sequence([*bound, loop])

    if not parallel:
        return serial(product(extents), body, "task")
    # Rows of one core become columns that all cores read: a fork takes longer than it saves until
    # there is much to move.
    work = product([a.extent for a in nest.axes] + [i64(1 + weight(nest.value))])
    return fork(memory.traits, product(extents), work, body)


def _tile_start(index: Expr, extent: Expr, size: int) -> Expr:
    known = static(extent)
    if known is not None and known % size == 0:
        return index * i64(size)
    return tirx.Min(index * i64(size), extent - i64(size))


def _tile(
    nest: Nest,
    along: Axis,
    across: Axis,
    crossed: Sequence[TensorLoad],
    size: int,
    start: dict[int, Expr],
) -> list[Stmt]:
    statements: list[Stmt] = []
    columns = [_transposed(load, along, size, start, statements) for load in crossed]
    if len(crossed) == 1 and nest.value.same_as(crossed[0]):
        for row in range(size):
            offset = _at(nest.offset, start, {hash(across.var): row})
            ramp = tirx.Ramp(offset, i64(1), size)
            statements.append(BufferStore(nest.target, columns[0][row], [ramp]))
        return statements
    # Through small buffers, so that the rest of the expression is vectorised as any other.
    bits = max(tirx.const(0, load.ty.dtype).ty.dtype.bits for load in crossed)
    rows = max(1, min(size, _TILE_BYTES * 8 // (bits * size)))
    for first in range(0, size, rows):
        buffers = [tirx.decl_buffer((rows * size,), load.ty.dtype, name="tile") for load in crossed]
        statements += [AllocBuffer(b) for b in buffers]
        for buffer, column in zip(buffers, columns, strict=True):
            for row in range(rows):
                ramp = tirx.Ramp(i64(row * size), i64(1), size)
                statements.append(BufferStore(buffer, column[first + row], [ramp]))

        homes = list(zip(crossed, buffers, strict=True))
        line = partial(_line, nest, along, across, homes, size, start, first)
        statements.append(serial(i64(rows), line, "row"))
    return statements


def _line(
    nest: Nest,
    along: Axis,
    across: Axis,
    homes: Sequence[tuple[TensorLoad, Var]],
    size: int,
    start: dict[int, Expr],
    first: int,
    row: Expr,
) -> Stmt:
    """One row of a tile: the nest's expression with the crossed loads from their buffers."""

    def element(lane: Expr) -> Stmt:
        def load(node: TensorLoad) -> Expr:
            for known, buffer in homes:
                if tvm_ffi.structural_equal(node, known):
                    return BufferLoad(buffer, [row * i64(size) + lane])
            return node

        value = tvm_ffi.structural_map(nest.value, [(TensorLoad, load)])
        moved = {hash(across.var): row + i64(first), hash(along.var): lane}
        return BufferStore(nest.target, _at(value, start, moved), [_at(nest.offset, start, moved)])

    return vector(size, element)


def _transposed(
    load: TensorLoad, along: Axis, size: int, start: dict[int, Expr], statements: list[Stmt]
) -> list[Expr]:
    """Vectors along `along`, one per element of `across`; rounds of a butterfly of shuffles."""
    dtype = f"{load.ty.dtype}x{size}"
    vectors: list[Expr] = []
    for row in range(size):
        offset = _at(load.indices[0], start, {hash(along.var): row})
        var = Var("v", dtype)
        ramp = tirx.Ramp(offset, i64(1), size)
        statements.append(tirx.Bind(var, BufferLoad(load.source, [ramp])))
        vectors.append(var)
    distance = 1
    while distance < size:
        swapped = list(vectors)
        for row in range(size):
            if row & distance:
                continue
            pair = [vectors[row], vectors[row + distance]]
            low = [j if not j & distance else size + j - distance for j in range(size)]
            high = [j + distance if not j & distance else size + j for j in range(size)]
            for at, lanes in ((row, low), (row + distance, high)):
                var = Var("v", dtype)
                indices = [tirx.IntImm("int32", lane) for lane in lanes]
                statements.append(tirx.Bind(var, tirx.Shuffle(pair, indices)))
                swapped[at] = var
        vectors = swapped
        distance *= 2
    return vectors


def _at(expr: Expr, start: dict[int, Expr], more: dict[int, Expr | int]) -> Expr:
    def visit(var: Var) -> Expr:
        base = start.get(hash(var))
        if base is None:
            return var
        step = more.get(hash(var), 0)
        return base if isinstance(step, int) and step == 0 else base + step

    return tvm_ffi.structural_map(expr, [(Var, visit)])
