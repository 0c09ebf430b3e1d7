"""Emits copies between few planes and few channels, an image's three for one, in whole vectors.

Before: ``for p, c: y[p*3 + c] = x[c*P + p]``. After: per block of T pixels, T a vector's lanes,
three loads, three shuffles of all of them, three stores; the same the other way round.
"""

from __future__ import annotations

from tvm import tirx
from tvm.ir import Expr, TensorLoad
from tvm.tirx import BufferLoad, BufferStore, Stmt, Var

from tvm_sod2.schedules.grain import MOVED
from tvm_sod2.schedules.rules.access import Memory, Nest, stride
from tvm_sod2.schedules.rules.loops import (
    bind,
    ceil_div,
    decode,
    fork,
    i64,
    product,
    sequence,
    serial,
)
from tvm_sod2.schedules.rules.polynomial import put
from tvm_sod2.schedules.rules.program import Axis

__all__ = ["emit_interleaved"]

_BLOCKS = 64  # blocks of a task
_MOST_CHANNELS = 4


def emit_interleaved(
    memory: Memory, nest: Nest, few: Axis, pixels: Axis, size: int, parallel: bool
) -> Stmt | None:
    """Loops over blocks of `size` pixels; None where `nest` is not such a copy.

    `few` is the axis of the channels, of known extent. There must be `size` pixels at least.
    """
    load, channels = nest.value, int(few.extent.value)
    if not isinstance(load, TensorLoad) or not 2 <= channels <= _MOST_CHANNELS:
        return None
    source, target = load.indices[0], nest.offset
    joins = (
        stride(memory, target, few.var) == 1
        and stride(memory, target, pixels.var) == channels
        and stride(memory, source, pixels.var) == 1
    )
    parts = (
        stride(memory, source, few.var) == 1
        and stride(memory, source, pixels.var) == channels
        and stride(memory, target, pixels.var) == 1
    )
    if not joins and not parts:
        return None
    others = [a for a in nest.axes if a is not few and a is not pixels]
    blocks = ceil_div(pixels.extent, size)
    extents = [*(a.extent for a in others), ceil_div(blocks, _BLOCKS)]

    def at(offset: Expr, channel: int, step: int) -> Expr:
        ramp = put(offset, {hash(few.var): i64(channel)})
        return tirx.Ramp(ramp + i64(step) if step else ramp, i64(1), size)

    def block(start: Expr, where: dict[int, Expr]) -> Stmt:
        placed = {**where, hash(pixels.var): start}
        read, written = put(source, placed), put(target, placed)
        statements: list[Stmt] = []
        vectors: list[Expr] = []
        for k in range(channels):
            var = Var("v", f"{load.ty.dtype}x{size}")
            index = at(read, k, 0) if joins else at(read, 0, k * size)
            statements.append(tirx.Bind(var, BufferLoad(load.source, [index])))
            vectors.append(var)
        for k in range(channels):
            if joins:  # element e of the pixels is channel e % channels of pixel e // channels
                elements = range(k * size, (k + 1) * size)
                lanes = [e % channels * size + e // channels for e in elements]
            else:
                lanes = [lane * channels + k for lane in range(size)]
            indices = [tirx.IntImm("int32", lane) for lane in lanes]
            index = at(written, 0, k * size) if joins else at(written, k, 0)
            statements.append(BufferStore(nest.target, tirx.Shuffle(vectors, indices), [index]))
        return sequence(statements)

    def body(task: Expr) -> Stmt:
        bound: list[Stmt] = []
        *outer, part = [bind(bound, "at", c) for c in decode(task, extents)]
        where = {hash(a.var): c for a, c in zip(others, outer, strict=True)}
        first = bind(bound, "first", part * i64(_BLOCKS))

        def one(j: Expr) -> Stmt:
            inner: list[Stmt] = []
            last = pixels.extent - i64(size)
            start = bind(inner, "start", tirx.Min((first + j) * i64(size), last))
            return sequence([*inner, block(start, where)])

        count = tirx.Min(i64(_BLOCKS), blocks - first)
        return sequence([*bound, serial(count, one, "block")])

    if not parallel:
        return serial(product(extents), body, "task")
    work = product([a.extent for a in nest.axes] + [i64(MOVED)])
    return fork(memory.traits, product(extents), work, body)
