"""A reduction stage made flat: its loops, its steps and how its result is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import BufferLoad, BufferStore, IfThenElse, Stmt, Var

from tvm_sod2.schedules.grain import MOVED
from tvm_sod2.schedules.rules.access import Memory, Nest, collapse, rename, stride
from tvm_sod2.schedules.rules.cost import EXPENSIVE, lanes_of, weight
from tvm_sod2.schedules.rules.loops import i64, product, sequence, serial, static, vector
from tvm_sod2.schedules.rules.maps import flat_nest
from tvm_sod2.schedules.rules.polynomial import occurs, put
from tvm_sod2.schedules.rules.program import Axis, Stage, loads
from tvm_sod2.schedules.rules.reducers import Combiner, combine
from tvm_sod2.schedules.rules.windows import narrow_windows

__all__ = ["Reduction", "dependent_windows"]

_COPIES = 4  # independent accumulators, so that one does not wait for the last


class Reduction:
    """A reduction stage, flat and collapsed, with what its loops share.

    With `whole`, the variable of an output axis, it is what holds in `span` of that axis, where no
    window is cut off along it; None if that is not known.
    """

    def __init__(self, memory: Memory, stage: Stage, whole: Var | None = None) -> None:
        assert stage.combiner is not None and stage.start is not None
        self.memory = memory
        self.combiner: Combiner = stage.combiner
        self.start: Expr = stage.start
        windows = narrow_windows(memory, flat_nest(memory, stage), stage.combiner, whole)
        nest, self.guard, self.span = windows
        if self.guard is None and whole is None and not dependent_windows(nest):
            nest = collapse(memory, collapse(memory, nest, reduced=True))
        elif self.guard is None:
            nest = _without_ones(memory, nest)
        self.nest: Nest = nest
        self.dtype = str(stage.value.ty.dtype)
        self.terms = [nest.value] if nest.kept is None else [nest.value, nest.kept[2]]
        cost = sum(weight(term) for term in self.terms)
        self.copies = _COPIES if cost < EXPENSIVE else 2
        extents = [a.extent for a in (*nest.axes, *stage.reduced)]
        self.work = product([*extents, i64(MOVED // 2 + cost)])

    def accumulator(self, size: int, name: str = "acc") -> Var:
        """A buffer small enough to live in registers."""
        return tirx.decl_buffer((size,), self.dtype, name=name)

    def join(self, acc: Var, at: Expr, term: Expr) -> Stmt:
        """``acc[at] = combine(acc[at], term)``."""
        return BufferStore(acc, combine(self.combiner, BufferLoad(acc, [at]), term), [at])

    def clear(self, acc: Var, first: int, width: int) -> Stmt:
        """Set a vector of the accumulator to what nothing reduces to."""
        return vector(width, lambda lane: BufferStore(acc, self.start, [i64(first) + lane]))

    def fold(self, acc: Var, first: int, width: int) -> Stmt:
        """Join the vector at `first` into the one at the accumulator's beginning."""
        return vector(
            width, lambda lane: self.join(acc, lane, BufferLoad(acc, [i64(first) + lane]))
        )

    def step(
        self, acc: Var, at: Expr, placed: Callable[[Expr], Expr], valid: Expr | None = None
    ) -> Stmt:
        """Combine the term at some coordinates in, where `valid` holds."""
        term = placed(self.nest.value)
        if valid is not None:
            term = tirx.Select(valid, term, self.start)
        joined = self.join(acc, at, term)
        if self.nest.kept is None:
            return joined
        target, offset, value = self.nest.kept
        return sequence([BufferStore(target, placed(value), [placed(offset)]), joined])

    def lanes(self, var: Var) -> int:
        """Lanes of vectors along a loop; 1 for booleans, whose vectors TVM packs into bits."""
        if self.dtype == "bool":
            return 1
        return lanes_of(self.memory.traits, var, *self.terms)

    def strides(self, var: Var) -> list[object]:
        """How far each access of a step moves with `var`."""
        found = [] if self.nest.kept is None else [self.nest.kept[1]]
        found += [load.indices[0] for term in self.terms for load in loads(term)]
        return [stride(self.memory, offset, var) for offset in found]

    def term(self, at: Sequence[Expr], reduced: Sequence[Expr]) -> Callable[[Expr], Expr]:
        """A function that puts coordinates into an expression of the nest."""
        axes = (*self.nest.axes, *self.nest.reduced)
        mapping = {hash(a.var): e for a, e in zip(axes, (*at, *reduced), strict=False)}

        return lambda expr: put(expr, mapping)

    def store(self, at: Sequence[Expr], result: Expr) -> Stmt:
        """Write a result through the epilogue."""
        placed = self.term(at, [])
        if self.nest.epilogue is not None:
            var, stored = self.nest.epilogue
            result = put(placed(stored), {hash(var): result})
        return BufferStore(self.nest.target, result, [placed(self.nest.offset)])

    def guarded(self, placed: Callable[[Expr], Expr], update: Stmt) -> Stmt:
        """An update under what is left of a window's guard."""
        return update if self.guard is None else IfThenElse(placed(self.guard), update, None)

    def over_reduced(
        self, at: Sequence[Expr], body: Callable[[list[Expr]], Stmt], count: int | None = None
    ) -> Stmt:
        """Serial loops over the first `count` reduced axes (all, if None)."""
        reduced = self.nest.reduced if count is None else self.nest.reduced[:count]
        placed = self.term(at, [])

        def level(outer: list[Expr]) -> Stmt:
            if len(outer) == len(reduced):
                return body(outer)
            extent = placed(reduced[len(outer)].extent)
            return serial(extent, lambda k: level([*outer, k]), "k")

        return level([])


def dependent_windows(nest: Nest) -> bool:
    """Whether narrowed windows made reduced extents depend on output axes."""
    return any(occurs(r.extent, [a.var for a in nest.axes]) for r in nest.reduced)


def _without_ones(memory: Memory, nest: Nest) -> Nest:
    zero = {hash(a.var): i64(0) for a in nest.axes if static(a.extent) == 1}
    kept = tuple(a for a in nest.axes if static(a.extent) != 1)
    reduced = tuple(Axis(r.var, put(r.extent, zero)) for r in nest.reduced)
    return rename(memory, nest, zero, axes=kept, reduced=reduced)
