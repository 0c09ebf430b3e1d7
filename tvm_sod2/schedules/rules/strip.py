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
    """A strip of copies: a vector is loaded once for all steps of a short axis that repeat it.

    That is the last axis, ``for p, c: y[p*2 + c] = x[p]``, whose steps lie side by side, or the one
    before it, ``for c, p: y[c*n + p] = x[p]``.
    """

    side_by_side: bool = False

    @property
    def outer(self) -> tuple[Axis, ...]:
        return self.nest.axes[:-2]

    @property
    def inner(self) -> Axis:
        return self.nest.axes[-2 if self.side_by_side else -1]

    def element(self, at: Sequence[Expr], base: Expr, width: int) -> Stmt:
        few = self.nest.axes[-1 if self.side_by_side else -2]
        steps = [i64(k) for k in range(int(few.extent.value))]
        places = [[*at, base, k] if self.side_by_side else [*at, k, base] for k in steps]
        if width == 1:
            return sequence([_store(self.nest, place) for place in places])
        load = self.nest.value
        read = put(load.indices[0], _places(self.nest, places[0]))
        var = Var("v", f"{load.ty.dtype}x{width}")
        vector_read = BufferLoad(load.source, [tirx.Ramp(read, i64(1), width)])
        statements: list[Stmt] = [tirx.Bind(var, vector_read)]
        first = put(self.nest.offset, _places(self.nest, places[0]))
        for k, place in enumerate(places):
            value, offset = var, put(self.nest.offset, _places(self.nest, place))
            if self.side_by_side:
                lanes = [(k * width + lane) // len(steps) for lane in range(width)]
                value = tirx.Shuffle([var], [tirx.IntImm("int32", lane) for lane in lanes])
                offset = first + i64(k * width)
            ramp = tirx.Ramp(offset, i64(1), width)
            statements.append(BufferStore(self.nest.target, value, [ramp]))
        return sequence(statements)


def _places(nest: Nest, at: Sequence[Expr]) -> dict[int, Expr]:
    return {hash(a.var): e for a, e in zip(nest.axes, at, strict=True)}


def _store(nest: Nest, at: Sequence[Expr]) -> Stmt:
    mapping = _places(nest, at)
    return BufferStore(nest.target, put(nest.value, mapping), [put(nest.offset, mapping)])
