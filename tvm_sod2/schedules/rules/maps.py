"""Emits maps: flat, collapsed, forked over outer axes, vectors along the contiguous one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr
from tvm.tirx import BufferStore, Stmt

from tvm_sod2.schedules.grain import MOVED
from tvm_sod2.schedules.rules.access import Memory, Nest, collapse, collapse_shared, offsets, stride
from tvm_sod2.schedules.rules.cost import lanes_of, weight
from tvm_sod2.schedules.rules.loops import (
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
from tvm_sod2.schedules.rules.polynomial import put
from tvm_sod2.schedules.rules.program import Axis, Stage, loads
from tvm_sod2.schedules.rules.regions import split_regions
from tvm_sod2.schedules.rules.transposes import crossed_axis, emit_transposed

__all__ = ["emit_map", "flat_nest"]

_TASK_VECTORS = 512  # vectors of a task where one axis is all there is
_TASK_ELEMENTS = 8192  # elements of a task's rows
_SHORT_ROW = 4096  # elements up to which a row's regions are written together


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
    statements: list[Stmt] = []
    for group in _side_by_side(split_regions(memory, flat_nest(memory, stage))):
        shared = collapse_shared(memory, group) if len(group) > 1 else []
        strips = [_strip(memory, nest) for nest in shared if nest.axes]
        if len(strips) > 1 and all(strip is not None for strip in strips):
            found = [strip for strip in strips if strip is not None]
            statements.append(_loops(memory, found, parallel))
        else:
            statements += [_emit(memory, collapse(memory, nest), parallel) for nest in group]
    return sequence(statements)


@dataclass(frozen=True)
class _Strip:
    """A nest and how wide its innermost loop may be vectorised."""

    nest: Nest
    lanes: int

    @property
    def outer(self) -> tuple[Axis, ...]:
        return self.nest.axes[:-1]

    @property
    def inner(self) -> Axis:
        return self.nest.axes[-1]

    def element(self, at: Sequence[Expr], base: Expr, width: int) -> Stmt:
        """`width` elements from `base` on, at outer coordinates."""
        return vector(width, lambda lane: _store(self.nest, [*at, base + lane]))

    def whole(self, at: Sequence[Expr]) -> Stmt:
        """The innermost loop."""
        return cover(
            self.inner.extent,
            self.lanes,
            lambda base, width: self.element(at, base, width),
            not self.nest.in_place,
        )

    def piece(self, at: Sequence[Expr], index: Expr) -> Stmt:
        """One block of the innermost loop."""
        block = self.lanes * _TASK_VECTORS
        size = static(self.inner.extent)
        if size is not None and size <= block:
            return self.whole(at)
        bound: list[Stmt] = []
        start = bind(bound, "start", index * i64(block))
        count = bind(bound, "count", tirx.Min(i64(block), self.inner.extent - start))
        loop = cover(
            count,
            self.lanes,
            lambda base, width: self.element(at, start + base, width),
            not self.nest.in_place,
        )
        return sequence([*bound, loop])


def _side_by_side(nests: list[Nest]) -> list[list[Nest]]:
    """Groups of regions that divide short rows: written row by row, each line is touched once."""
    groups: list[list[Nest]] = []
    for nest in nests:
        key = [id(axis) for axis in nest.axes[:-1]]
        if groups and key and key == [id(axis) for axis in groups[-1][0].axes[:-1]]:
            groups[-1].append(nest)
        else:
            groups.append([nest])
    divided: list[list[Nest]] = []
    for group in groups:
        sizes = [static(nest.axes[-1].extent) if nest.axes else None for nest in group]
        known = [size for size in sizes if size is not None]
        if len(known) == len(group) and sum(known) <= _SHORT_ROW:
            divided.append(group)
        else:
            divided += [[nest] for nest in group]
    return divided


def _strip(memory: Memory, nest: Nest) -> _Strip | None:
    """The nest as a strip, or None where its loads ask for tiles."""
    inner = nest.axes[-1]
    strides = [stride(memory, o, inner.var) for o in offsets(nest)]
    if strides[0] != 1:
        return _Strip(_without_branches(nest), 1)
    if crossed_axis(memory, nest) is not None:
        return None
    # Strided or data-dependent loads are taken lane by lane anyway: scalar code is as good.
    useful = all(s in (0, 1) for s in strides) or 1 in strides[1:]
    return _Strip(
        _without_branches(nest), lanes_of(memory.traits, inner.var, nest.value) if useful else 1
    )


def _emit(memory: Memory, nest: Nest, parallel: bool) -> Stmt:
    if not nest.axes:
        return BufferStore(nest.target, nest.value, [nest.offset])
    strip = _strip(memory, nest)
    if strip is not None:
        return _loops(memory, [strip], parallel)
    plain = _loops(memory, [_Strip(_without_branches(nest), 1)], parallel)
    return emit_transposed(memory, nest, parallel, plain) or plain


def _loops(memory: Memory, strips: Sequence[_Strip], parallel: bool) -> Stmt:
    """The strips' shared outer loops around each strip's own; a task is a block of rows."""
    outer = strips[0].outer

    def each(at: list[Expr]) -> Stmt:
        if len(at) == len(outer):
            return sequence([strip.whole(at) for strip in strips])
        return serial(outer[len(at)].extent, lambda i: each([*at, i]))

    if not parallel:
        return each([])
    inner = product([strips[0].inner.extent])
    for strip in strips[1:]:
        inner = inner + strip.inner.extent
    cost = MOVED + max(0, *(weight(strip.nest.value) for strip in strips), 0)
    work = product([a.extent for a in outer] + [inner, i64(cost)])
    pieces = i64(1)
    if len(strips) == 1:
        pieces = ceil_div(inner, strips[0].lanes * _TASK_VECTORS)

    def row(at: list[Expr], piece: Expr) -> Stmt:
        if len(strips) == 1:
            return strips[0].piece(at, piece)
        return sequence([strip.whole(at) for strip in strips])

    if not outer:
        return fork(memory.traits, pieces, work, lambda task: row([], task))
    prologue: list[Stmt] = []
    rows = outer[-1].extent
    size = static(inner)
    if size is not None:
        depth: Expr = i64(max(1, _TASK_ELEMENTS // max(1, size)))
    else:
        most = i64(_TASK_ELEMENTS)
        depth = tirx.FloorDiv(most, tirx.Max(tirx.Min(inner, most), i64(1)))
        depth = bind(prologue, "depth", depth)
    blocks = bind(prologue, "blocks", tirx.FloorDiv(rows + depth - i64(1), depth))
    extents = [*(a.extent for a in outer[:-1]), blocks, pieces]

    def body(task: Expr) -> Stmt:
        bound: list[Stmt] = []
        *at, block, piece = [bind(bound, "at", c) for c in decode(task, extents)]
        first = bind(bound, "first", block * depth)
        count = tirx.Min(depth, rows - first)
        return sequence([*bound, serial(count, lambda r: row([*at, first + r], piece))])

    return sequence([*prologue, fork(memory.traits, product(extents), work, body)])


def _store(nest: Nest, at: Sequence[Expr]) -> Stmt:
    mapping = {hash(a.var): e for a, e in zip(nest.axes, at, strict=True)}
    return BufferStore(nest.target, put(nest.value, mapping), [put(nest.offset, mapping)])


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
