"""Loops over a subgraph: a private function that calls itself at logarithmic depth.

    step(k, i, state):                 runs the body up to 2**k times, while its condition holds
        if k == 0:                     i + 1, goes on?, body(i, state)
        else:
            a = step(k - 1, i, state)
            if a goes on:              step(k - 1, a)
            else:                      a

Any number of trips runs in a stack of at most 63 calls. What the body uses of the outside becomes
parameters of the function. Dims of the state that the body changes are the function's own symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import relax, tirx
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.buffers import copied, unwritten
from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Dim
from tvm_sod2.frontend.dims import is_same
from tvm_sod2.frontend.loop_function import Step, block, dims_of, symbols_in
from tvm_sod2.frontend.sequence_lists import awaited
from tvm_sod2.schedules.copies import overwrite_kernel, slice_kernel

_DEPTH = 62  # 2**62 trips are more than any loop makes

Run = Callable[[Expr, Sequence[Expr]], "Turn"]
"""Emits one turn into the open block, given its number and the state."""


@dataclass(frozen=True)
class Turn:
    """What one turn gives: whether to go on (None: always), the state, and what is collected.

    again: the turn took more for granted of its state than holds, and is to be emitted anew.
    """

    goes_on: Expr | None
    state: list[Expr]
    collected: list[Expr]
    again: bool = False


def loop(
    c: Context,
    run: Run,
    limit: Expr | None,
    starts: Expr | None,
    state: Sequence[Expr],
    turns: Dim | None = None,
    stacks: bool = True,
) -> tuple[list[Expr], list[Expr]]:
    """Emit a loop: the state after it, and what its turns gave, stacked along a new first axis.

    limit: largest number of turns, an int64 scalar; starts: a bool scalar; None: no bound, always.
    turns: the limit as a dim, where it is one. stacks: whether the axis is new; if not, what the
    turns gave is joined along the first axis that it has.
    """
    certain = None if starts is None else c.constant(starts)
    if certain is not None and certain.item():
        starts = None
    return _Loop(c, run, limit, starts, list(state), turns, stacks).emit()


@dataclass
class _Loop:
    c: Context
    run: Run
    limit: Expr | None
    starts: Expr | None
    state: list[Expr]
    turns: Dim | None
    stacks: bool
    trips: Dim | None = None  # where they are known before the loop, unless a condition ends it

    def emit(self) -> tuple[list[Expr], list[Expr]]:
        c, states = self.c, len(self.state)
        self.trips = self._trips() if self.stacks and len(c.node.output) > states else None
        step = self._step()
        depth, first = c.ints(self._depth()), c.ints(0)
        begins = self._begins(first)
        certain = None if begins is None else c.constant(begins)
        if begins is None or (certain is not None and certain.item()):
            results = step.call(depth, first, self.state)
        else:
            taken = block(c, lambda: step.call(depth, first, self.state))
            idle = block(c, lambda: [first, const(False), *self.state, *step.nothing()])
            results = step.unpack(c.bb.emit(relax.If(begins, taken, idle)))
        return results[2 : 2 + states], results[2 + states :]

    def _depth(self) -> int:
        trips = None if self.limit is None else self.c.constant(self.limit)
        return _DEPTH if trips is None else max(0, (max(int(trips), 1) - 1).bit_length())

    def _trips(self) -> Dim | None:
        """How many turns there are if no condition ends the loop; None where there is no limit."""
        c = self.c
        if self.limit is None:
            return None
        known = c.constant(self.limit)
        if self.starts is None and (known is not None or self.turns is not None):
            return self.turns if known is None else max(0, int(known))
        trips = c.emit(R.maximum(self.limit, c.ints(0)))
        if self.starts is not None:
            trips = c.emit(R.where(self.starts, trips, c.ints(0)))
        return c.symbols_of(c.reshape(trips, [1]), 1)[0]

    def _begins(self, first: Expr) -> Expr | None:
        return self._both(self.starts, self._below(first))

    def _below(self, number: Expr) -> Expr | None:
        """Whether turn `number` is within the limit."""
        if self.limit is None:
            return None
        arrays = self.c.constant(number), self.c.constant(self.limit)
        if arrays[0] is not None and arrays[1] is not None:
            return const(np.asarray(arrays[0] < arrays[1]))
        return self.c.emit(R.less(number, self.limit))

    def _both(self, a: Expr | None, b: Expr | None) -> Expr | None:
        certain = [None if value is None else self.c.constant(value) for value in (a, b)]
        if a is None or (certain[0] is not None and certain[0].item()):
            return b
        if b is None or (certain[1] is not None and certain[1].item()):
            return a
        return self.c.emit(R.logical_and(a, b))

    def _step(self) -> Step:
        """The function, with as few dims of the state as possible that a turn may change."""
        c = self.c
        dims = [dims_of(c, value) for value in self.state]
        own: set[tirx.Var] = set()
        while True:
            params = [
                relax.Var(f"state_{i}", _type_with(value.ty, shape))
                for i, (shape, value) in enumerate(zip(dims, self.state, strict=True))
            ]
            scalars = [relax.Var(name, relax.TensorType([], "int64")) for name in ("depth", "turn")]
            c.bb._begin_binding_block()
            made = self.run(scalars[1], params)
            changes = self._changes(params, made.state, own)
            if not changes and not made.again:
                return self._finished([*scalars, *params], made, dims, own)
            c.bb._end_block()
            for i, axis in changes:
                symbol = c.module.symbols.fresh(f"{c.hint}_state_{i}_d{axis}")
                own.add(symbol)
                dims[i] = [symbol if a == axis else dim for a, dim in enumerate(dims[i] or [])]

    def _finished(
        self, params: list[relax.Var], made: Turn, dims: list[list[Dim] | None], own: set[tirx.Var]
    ) -> Step:
        """The function of the turn just emitted into the open block."""
        c = self.c
        kept = [
            i
            for i, value in enumerate(params[2:])
            if not own & symbols_in([value]) and is_large(c, value)
        ]
        fields = self._fields(params[1], made)
        buffers = self._buffers(made)
        collected = [2 + len(made.state) + i for i in range(len(made.collected))]
        for at, buffer, value in zip(collected, buffers, made.collected, strict=False):
            fields[at] = self._written(buffer, value, params[1])
        if kept:
            shared = range(2, collected[0] if buffers else len(fields))
            fields = self._kept_in_place(fields, kept, params[2:], shared)
        result = c.bb.emit(relax.Tuple(fields))
        body = relax.SeqExpr([c.bb._end_block()], result)
        self.state = [copied(c, v) if i in kept else v for i, v in enumerate(self.state)]
        self.state += [unwritten(c, buffer.ty) for buffer in buffers]
        inner = [c.dims(v)[0 if self.stacks else 1 :] for v in made.collected]
        stacks = [[self.trips if buffers else None, *shape] for shape in inner]
        return Step(c, [*params, *buffers], body, fields, [[], [], *dims, *stacks], own)

    def _buffers(self, made: Turn) -> list[relax.Var]:
        """Parameters for what is collected, where all its dims are known before the loop."""
        c = self.c
        ends = None if made.goes_on is None else c.constant(made.goes_on)
        if self.trips is None or (made.goes_on is not None and (ends is None or not ends.item())):
            return []
        known = symbols_in([*c.visible.values(), *self.state])
        if not symbols_in(made.collected) <= known:
            return []
        return [
            relax.Var(f"all_{i}", relax.TensorType([self.trips, *c.dims(value)], c.dtype(value)))
            for i, value in enumerate(made.collected)
        ]

    def _written(self, buffer: relax.Var, value: Expr, number: Expr) -> Expr:
        """The buffer with the value as its slice `number`."""
        c = self.c
        gvar = c.bb.add_func(slice_kernel(c.rank(value), c.dtype(value)), "write_slice")
        arguments = relax.Tuple([buffer, value, number])
        return c.emit(relax.op.call_tir_inplace(gvar, arguments, [0], [buffer.ty]))

    def _fields(self, number: Expr, made: Turn) -> list[Expr]:
        c = self.c
        after = c.emit(R.add(number, c.ints(1)))
        goes_on = self._both(made.goes_on, self._below(after))
        stacked = made.collected
        if self.stacks:
            stacked = [c.emit(R.expand_dims(value, 0)) for value in stacked]
        return [after, const(True) if goes_on is None else goes_on, *made.state, *stacked]

    def _kept_in_place(
        self, fields: list[Expr], kept: list[int], params: list[relax.Var], shared: range
    ) -> list[Expr]:
        """The results of a turn with large states written over those before, which are ours.

        Every level of the recursion then holds the same tensors. What else the turn gives must not
        be a view of them, nor one new state of another; sequences hold copies already.
        """
        c = self.c
        fields = list(fields)
        for i in shared:
            tensor = isinstance(fields[i].ty, relax.TensorType)
            if tensor and (i - 2 not in kept or len(kept) > 1):
                fields[i] = copied(c, fields[i])
        given = list(fields)
        for i in kept:
            new, old = given[2 + i], params[i]
            others = [
                awaited(c, field)
                for field in given
                if not field.same_as(new) and c.constant(field) is None
            ]
            kinds = [(c.rank(other), c.dtype(other)) for other in others]
            gvar = c.bb.add_func(overwrite_kernel(c.rank(old), c.dtype(old), kinds), "overwrite")
            arguments = relax.Tuple([old, c.equate(new, c.dims(old)), *others])
            fields[2 + i] = c.emit(relax.op.call_tir_inplace(gvar, arguments, [0], [old.ty]))
        return fields

    def _changes(
        self, before: Sequence[Expr], after: Sequence[Expr], own: set[tirx.Var]
    ) -> list[tuple[int, int]]:
        """State and axis of each dim that a turn may change and that is no symbol of its own."""
        c = self.c
        changes = []
        for i, (old, new) in enumerate(zip(before, after, strict=True)):
            if not isinstance(old.ty, relax.TensorType):
                continue
            if (c.rank(old), c.dtype(old)) != (c.rank(new), c.dtype(new)):
                raise c.error(
                    f"its state {i} is {c.dtype(old)} of rank {c.rank(old)} before a turn and "
                    f"{c.dtype(new)} of rank {c.rank(new)} after it; both must not depend on the "
                    "data: cast or reshape it"
                )
            pairs = zip(c.dims(old), c.dims(new), strict=True)
            changes += [
                (i, a) for a, (x, y) in enumerate(pairs) if x not in own and not is_same(x, y)
            ]
        return changes


_LARGE = 1 << 16
"""Bytes of state from which on it is kept in one place; below, copying it costs more than space."""


def is_large(c: Context, value: Expr) -> bool:
    dims = dims_of(c, value)
    if dims is None:
        return False
    if not all(isinstance(dim, int) for dim in dims):
        return True
    return int(np.prod(dims)) * np.dtype(c.dtype(value)).itemsize >= _LARGE


def _type_with(ty: relax.Type, dims: list[Dim] | None) -> relax.Type:
    return ty if dims is None else relax.TensorType(dims, ty.dtype)
