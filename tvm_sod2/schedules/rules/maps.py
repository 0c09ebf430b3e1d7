"""Emits maps: flat, collapsed, forked over outer axes, vectors along the contiguous one."""

from __future__ import annotations

from collections.abc import Sequence

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr, TensorLoad
from tvm.tirx import BufferStore, Stmt

from tvm_sod2.passes.strided_loads import STEPS
from tvm_sod2.schedules.grain import MOVED
from tvm_sod2.schedules.rules.access import Memory, Nest, collapse, collapse_shared, offsets, stride
from tvm_sod2.schedules.rules.cost import EXPENSIVE, lanes_of, weight
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
)
from tvm_sod2.schedules.rules.program import Axis, Stage, loads
from tvm_sod2.schedules.rules.regions import split_regions
from tvm_sod2.schedules.rules.strip import Repeat, Strip
from tvm_sod2.schedules.rules.tables import weight_of_elements
from tvm_sod2.schedules.rules.transposes import crossed_axis, emit_transposed

__all__ = ["emit_map", "flat_nest"]

_TASK_ELEMENTS = 8192  # elements of a task's rows
_FEW_ROWS = 8  # rows that are too few for a task
_MOST_REPEATS = 8  # times that a vector's elements are written side by side
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
        strips = [_strip(memory, nest) for nest in shared]
        found = [strip for strip in strips if strip is not None]
        # Outer axes of one step are gone: without an outer loop there is nothing to share.
        if len(found) > 1 and len(found) == len(strips) and found[0].outer:
            statements.append(_loops(memory, found, parallel))
        else:
            statements += [_emit(memory, collapse(memory, nest), parallel) for nest in group]
    return sequence(statements)


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


def _strip(memory: Memory, nest: Nest) -> Strip | None:
    """The nest as a strip, or None where its loads ask for tiles."""
    inner = nest.axes[-1]
    strides = [stride(memory, o, inner.var) for o in offsets(nest)]
    if strides[0] != 1:
        return Strip(_without_branches(nest), 1)
    if crossed_axis(memory, nest) is not None:
        return None
    # Data-dependent loads are taken lane by lane anyway: scalar code is as good.
    irregular = None in strides
    useful = all(step in (0, 1, *STEPS) for step in strides) or 1 in strides[1:]
    if irregular and weight_of_elements(nest) < EXPENSIVE:
        useful = False
    lanes = lanes_of(memory.traits, inner.var, nest.value) if useful else 1
    return Strip(_without_branches(nest), lanes, irregular)


def _emit(memory: Memory, nest: Nest, parallel: bool) -> Stmt:
    if not nest.axes:
        return BufferStore(nest.target, nest.value, [nest.offset])
    repeat = _repeat(memory, nest)
    if repeat is not None:
        return _loops(memory, [repeat], parallel)
    strip = _strip(memory, nest)
    if strip is not None:
        return _loops(memory, [strip], parallel)
    plain = _loops(memory, [Strip(_without_branches(nest), 1)], parallel)
    return emit_transposed(memory, nest, parallel, plain) or plain


def _repeat(memory: Memory, nest: Nest) -> Repeat | None:
    """The nest as a copy that writes each element several times, None where it is none."""
    if len(nest.axes) < 2 or not isinstance(nest.value, TensorLoad) or nest.in_place:
        return None
    accesses = offsets(nest)
    if str(nest.value.ty.dtype) == "bool" or len(accesses) != 2:
        return None  # TVM packs vectors of booleans into bits; an index may be read, too.
    for side_by_side, (few, along) in ((True, nest.axes[:-3:-1]), (False, nest.axes[-2:])):
        times = static(few.extent)
        if times is None or not 2 <= times <= _MOST_REPEATS:
            continue
        written, read = (
            [stride(memory, offset, axis.var) for axis in (few, along)] for offset in accesses
        )
        if read == [0, 1] and (written == [1, times] if side_by_side else written[1] == 1):
            lanes = lanes_of(memory.traits, along.var, nest.value)
            return Repeat(nest, lanes, side_by_side=side_by_side)
    return None


def _loops(memory: Memory, strips: Sequence[Strip], parallel: bool) -> Stmt:
    """The strips' shared outer loops around each strip's own; a task is a block of rows."""
    outer = strips[0].outer
    if not parallel:
        return each(outer, [], lambda at: sequence([strip.whole(at) for strip in strips]))
    inner = product([strips[0].inner.extent])
    for strip in strips[1:]:
        inner = inner + strip.inner.extent
    cost = MOVED + max(0, *(weight(strip.nest.value) for strip in strips), 0)
    work = product([a.extent for a in outer] + [inner, i64(cost)])
    only = strips[0] if len(strips) == 1 else None
    pieces = i64(1) if only is None else ceil_div(inner, only.block)
    if not outer:
        return fork(memory.traits, pieces, work, lambda task: strips[0].piece([], task))
    outer, repeated = _split_few(outer)
    prologue: list[Stmt] = []
    rows = outer[-1].extent
    once = product([inner, *(a.extent for a in repeated)])
    size = static(once)
    most = _TASK_ELEMENTS if only is None else only.block
    if size is not None:
        depth: Expr = i64(max(1, _TASK_ELEMENTS // max(1, min(size, most))))
    else:
        width = tirx.Max(tirx.Min(once, i64(most)), i64(1))
        depth = bind(prologue, "depth", tirx.FloorDiv(i64(_TASK_ELEMENTS), width))
    blocks = bind(prologue, "blocks", tirx.FloorDiv(rows + depth - i64(1), depth))
    extents = [*(a.extent for a in outer[:-1]), blocks, pieces]

    def body(task: Expr) -> Stmt:
        bound: list[Stmt] = []
        *at, block, piece = [bind(bound, "at", c) for c in decode(task, extents)]
        first = bind(bound, "first", block * depth)
        count = tirx.Min(depth, rows - first)
        row = only.prepared(memory, bound, piece) if only is not None else None

        def at_row(where: list[Expr]) -> Stmt:
            return sequence([s.whole(where) for s in strips]) if row is None else row(where)

        def several(r: Expr) -> Stmt:
            return each((*outer, *repeated), [*at, first + r], at_row)

        return sequence([*bound, serial(count, several)])

    return sequence([*prologue, fork(memory.traits, product(extents), work, body)])


def _split_few(outer: tuple[Axis, ...]) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    """Outer axes that tasks are made of, and short ones behind them that a task walks whole."""
    count, rows = len(outer), 1
    while count > 1 and (size := static(outer[count - 1].extent)) and rows * size <= _FEW_ROWS:
        count, rows = count - 1, rows * size
    return outer[:count], outer[count:]


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
