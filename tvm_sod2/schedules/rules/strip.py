"""The innermost loop of a map: how it is cut into vectors, and what a task takes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import BufferLoad, BufferStore, Stmt, Var

from tvm_sod2.schedules.rules.access import Memory, Nest
from tvm_sod2.schedules.rules.cost import EXPENSIVE, weight
from tvm_sod2.schedules.rules.loops import bind, cover, i64, sequence, static, vector
from tvm_sod2.schedules.rules.polynomial import put
from tvm_sod2.schedules.rules.program import Axis
from tvm_sod2.schedules.rules.tables import with_tables

__all__ = ["Repeat", "Strip"]

_TASK_VECTORS = 512  # vectors of a task where one axis is all there is
_TABLE = 1024  # elements of a task's row where rows share tables of indices


@dataclass(frozen=True)
class Strip:
    """A nest and how wide its innermost loop may be vectorised."""

    nest: Nest
    lanes: int
    irregular: bool = False  # some load's offset is no multiple of the innermost variable

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
        return self._elements(at, i64(0), self.inner.extent)

    @property
    def block(self) -> int:
        """The most elements that a task takes of the innermost loop."""
        return _TABLE if self.irregular else self.lanes * _TASK_VECTORS

    def piece(self, at: Sequence[Expr], index: Expr) -> Stmt:
        """One block of the innermost loop."""
        bound: list[Stmt] = []
        start, count = self._part(bound, index)
        return sequence([*bound, self._elements(at, start, count)])

    def prepared(
        self, memory: Memory, bound: list[Stmt], index: Expr
    ) -> Callable[[list[Expr]], Stmt]:
        """One block of the innermost loop for many rows; `bound` gets what they share."""
        start, count = self._part(bound, index)
        if not self.irregular or self.nest.in_place:
            return lambda at: self._elements(at, start, count)
        filled, nest = with_tables(memory, self.nest, start, count, self.block)
        bound += filled
        return lambda at: replace(self, nest=nest)._elements(at, start, count)

    def _part(self, bound: list[Stmt], index: Expr) -> tuple[Expr, Expr]:
        """Where a block starts, and its elements."""
        size = static(self.inner.extent)
        if size is not None and size <= self.block:
            return i64(0), self.inner.extent
        start = bind(bound, "start", index * i64(self.block))
        rest = tirx.Min(i64(self.block), self.inner.extent - start)
        return start, bind(bound, "count", rest)

    def _elements(self, at: Sequence[Expr], start: Expr, count: Expr) -> Stmt:
        def element(base: Expr, width: int) -> Stmt:
            return self.element(at, base if static(start) == 0 else start + base, width)

        return cover(count, self.lanes, element, not self.nest.in_place, self._copies)

    @property
    def _copies(self) -> int:
        """Vectors of one step: a long chain of arithmetic leaves a processor room for another."""
        return 2 if self.lanes > 1 and weight(self.nest.value) >= EXPENSIVE else 1


@dataclass(frozen=True)
class Repeat(Strip):
    """A strip of copies: each element of the last axis but one is written along the last.

    Before: ``for p, c: y[p*2 + c] = x[p]``. After: for each vector of x, two of its elements twice.
    """

    @property
    def outer(self) -> tuple[Axis, ...]:
        return self.nest.axes[:-2]

    @property
    def inner(self) -> Axis:
        return self.nest.axes[-2]

    def element(self, at: Sequence[Expr], base: Expr, width: int) -> Stmt:
        times = int(self.nest.axes[-1].extent.value)
        if width == 1:
            return sequence([_store(self.nest, [*at, base, i64(k)]) for k in range(times)])
        mapping = _places(self.nest, [*at, base, i64(0)])
        read, written = (put(e, mapping) for e in (self.nest.value.indices[0], self.nest.offset))
        source = self.nest.value.source
        var = Var("v", f"{source.ty.dtype}x{width}")
        load = BufferLoad(source, [tirx.Ramp(read, i64(1), width)])
        statements: list[Stmt] = [tirx.Bind(var, load)]
        for k in range(times):
            lanes = [tirx.IntImm("int32", (k * width + lane) // times) for lane in range(width)]
            ramp = tirx.Ramp(written + i64(k * width), i64(1), width)
            statements.append(BufferStore(self.nest.target, tirx.Shuffle([var], lanes), [ramp]))
        return sequence(statements)


def _places(nest: Nest, at: Sequence[Expr]) -> dict[int, Expr]:
    return {hash(a.var): e for a, e in zip(nest.axes, at, strict=True)}


def _store(nest: Nest, at: Sequence[Expr]) -> Stmt:
    mapping = _places(nest, at)
    return BufferStore(nest.target, put(nest.value, mapping), [put(nest.offset, mapping)])
