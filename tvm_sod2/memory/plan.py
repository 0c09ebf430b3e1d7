"""The memory plan of one Relax function: what shares the arena, where, and how much that saves.

Pure analysis. `tvm_sod2.memory.arena` writes a plan into the IR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import tvm
from tvm import relax, tirx

from tvm_sod2.memory.heights import GROUND, Height, Heights
from tvm_sod2.memory.lifetimes import ENTRY, Allocation, Lifetimes, find_lifetimes
from tvm_sod2.memory.offsets import Stacking, choose_stacking, peak_live
from tvm_sod2.memory.samples import sample_dims
from tvm_sod2.memory.sizes import Poly, SizeAlgebra
from tvm_sod2.memory.symbols import extents


@dataclass(frozen=True)
class Segment:
    """A part of the arena, allocated where the last of its symbols becomes known."""

    point: int  # ENTRY, or the position of the defining match_cast
    after: relax.Var | None  # the variable that match_cast binds; None at the entry
    tensors: tuple[Allocation, ...]
    sizes: tuple[Poly, ...]
    stacking: Stacking
    offsets: tuple[Height, ...]
    height: Height  # bytes of the whole segment


@dataclass(frozen=True)
class Bytes:
    """What a plan needs at given dims: without sharing, with it, and at least."""

    before: int
    after: int
    lower_bound: int


@dataclass(frozen=True)
class Plan:
    """The plan of one function. ``print(plan)`` shows a table."""

    name: str
    heights: Heights
    segments: tuple[Segment, ...]
    kept: tuple[tuple[Allocation, Poly | None], ...]  # allocated on their own, and their sizes
    samples: tuple[Mapping[str, int], ...]  # the dims that the stacking was chosen at
    points: Mapping[int, relax.Var]  # where symbols become known after the entry

    @property
    def arena_bytes(self) -> tvm.ir.Expr:
        """Bytes of all segments as an int64 expression over the function's dims."""
        parts = [self.heights.closed(segment.height) for segment in self.segments]
        total: tvm.ir.Expr = tirx.IntImm("int64", 0)
        for part in parts:
            total = total + part
        return total

    @property
    def arena_length(self) -> int:
        """How many terms `arena_bytes` has; without end where many dims are unrelated."""
        return sum(self.heights.length(segment.height) for segment in self.segments)

    @property
    def arena_dims(self) -> set[tirx.Var]:
        """The dims in `arena_bytes`."""
        return set().union(*(self.heights.dims(segment.height) for segment in self.segments))

    @property
    def arena_text(self) -> str:
        """`arena_bytes` in Python's syntax, short; `memory.arena_bytes` evaluates it."""
        heights, total = self.heights, [segment.height for segment in self.segments]
        return " + ".join(heights.text(height) for height in total) or "0"

    def at(self, dims: Mapping[str, int]) -> Bytes:
        """Bytes at `dims`, by symbol name. Tensors outside the arena are not counted."""
        before = after = bound = 0
        for segment in self.segments:
            sizes = [self.heights.sizes.evaluate(size, dims) for size in segment.sizes]
            before += sum(sizes)
            after += self.heights.evaluate(segment.height, dims)
            bound += peak_live([tensor.span for tensor in segment.tensors], sizes)
        return Bytes(before, after, bound)

    def __str__(self) -> str:
        from tvm_sod2.memory.table import table

        return table(self)


def plan(func: relax.Function, mod: tvm.IRModule | None = None, name: str = "main") -> Plan:
    """Plan the memory of `func`, which is in the form that `CallTIRRewrite` leaves.

    Parameters
    ----------
    func : relax.Function
        Allocations are ``R.builtin.alloc_tensor``, kernels are called with their outputs.
    mod : IRModule | None
        Holds the functions that `func` calls; without it their results alias their arguments.
    """
    lifetimes = find_lifetimes(func, mod or tvm.IRModule())
    sizes = SizeAlgebra(extents(func))
    heights = Heights(sizes)
    bytes_of = {a.var: sizes.bytes_of(a.shape, a.dtype) for a in lifetimes.allocations}
    samples = sample_dims(func, sizes)
    inside = [a for a in lifetimes.allocations if a.kept_because is None]
    points = sorted({a.point for a in inside if a.point is not None})
    segments = tuple(
        _segment(point, lifetimes, [a for a in inside if a.point == point], heights, samples)
        for point in points
    )
    kept = tuple(
        (a, bytes_of[a.var] if a.point is not None else None)
        for a in lifetimes.allocations
        if a.kept_because is not None
    )
    return Plan(name, heights, segments, kept, samples, lifetimes.points)


def _segment(
    point: int,
    lifetimes: Lifetimes,
    tensors: list[Allocation],
    heights: Heights,
    samples: tuple[Mapping[str, int], ...],
) -> Segment:
    algebra = heights.sizes
    sizes = [algebra.bytes_of(tensor.shape, tensor.dtype) for tensor in tensors]
    spans = [tensor.span for tensor in tensors]
    numbers = [[algebra.evaluate(size, dims) for size in sizes] for dims in samples]
    stacking = choose_stacking(spans, numbers)
    offsets: list[Height] = [GROUND] * len(tensors)
    for i in stacking.order:
        offsets[i] = heights.highest(heights.top(offsets[j], sizes[j]) for j in stacking.below[i])
    height = heights.highest(
        heights.top(offset, size) for offset, size in zip(offsets, sizes, strict=True)
    )
    after = None if point == ENTRY else lifetimes.points[point]
    return Segment(point, after, tuple(tensors), tuple(sizes), stacking, tuple(offsets), height)
