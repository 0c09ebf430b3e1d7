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
from typing import Any

import numpy as np
from tvm import relax, tirx
from tvm.ir import PrimType
from tvm.relax import Expr
from tvm.relax import op as R
from tvm.relax.utils import copy_with_new_vars

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Dim
from tvm_sod2.frontend.dims import expr, is_same
from tvm_sod2.frontend.names import identifier

_DEPTH = 62  # 2**62 trips are more than any loop makes

Run = Callable[[Expr, Sequence[Expr]], "Turn"]
"""Emits one turn into the open block, given its number and the state."""


@dataclass(frozen=True)
class Turn:
    """What one turn gives: whether to go on (None: always), the state, and what is collected."""

    goes_on: Expr | None
    state: list[Expr]
    collected: list[Expr]


def loop(
    c: Context, run: Run, limit: Expr | None, starts: Expr | None, state: Sequence[Expr]
) -> tuple[list[Expr], list[Expr]]:
    """Emit a loop: the state after it, and what its turns gave, stacked along a new first axis.

    limit: largest number of turns, an int64 scalar; starts: a bool scalar; None: no bound, always.
    """
    return _Loop(c, run, limit, starts, list(state)).emit()


@dataclass
class _Loop:
    c: Context
    run: Run
    limit: Expr | None
    starts: Expr | None
    state: list[Expr]

    def emit(self) -> tuple[list[Expr], list[Expr]]:
        step = self._step()
        c = self.c
        depth, first = c.ints(self._depth()), c.ints(0)
        begins = self._begins(first)
        certain = None if begins is None else c.constant(begins)
        if begins is None or (certain is not None and certain.item()):
            results = step.call(depth, first, self.state)
        else:
            taken = block(c, lambda: step.call(depth, first, self.state))
            idle = block(c, lambda: [first, const(False), *self.state, *step.nothing()])
            results = step.unpack(c.bb.emit(relax.If(begins, taken, idle)))
        return results[2 : 2 + len(self.state)], results[2 + len(self.state) :]

    def _depth(self) -> int:
        trips = None if self.limit is None else self.c.constant(self.limit)
        return _DEPTH if trips is None else max(0, (max(int(trips), 1) - 1).bit_length())

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

    def _step(self) -> _Step:
        """The function, with as few dims of the state as possible that a turn may change."""
        c = self.c
        dims = [c.dims(value) for value in self.state]
        own: set[tirx.Var] = set()
        while True:
            params = [
                relax.Var(f"state_{i}", relax.TensorType(shape, value.ty.dtype))
                for i, (shape, value) in enumerate(zip(dims, self.state, strict=True))
            ]
            scalars = [relax.Var(name, relax.TensorType([], "int64")) for name in ("depth", "turn")]
            c.bb._begin_binding_block()
            made = self.run(scalars[1], params)
            fields = self._fields(scalars[1], made)
            result = c.bb.emit(relax.Tuple(fields))
            body = relax.SeqExpr([c.bb._end_block()], result)
            changes = self._changes(params, made.state, own)
            if not changes:
                lists = [[], [], *dims, *([None, *c.dims(v)] for v in made.collected)]
                return _Step(c, [*scalars, *params], body, fields, lists, own)
            for i, axis in changes:
                symbol = c.module.symbols.fresh(f"{c.hint}_state_{i}_d{axis}")
                own.add(symbol)
                dims[i] = [symbol if a == axis else dim for a, dim in enumerate(dims[i])]

    def _fields(self, number: Expr, made: Turn) -> list[Expr]:
        c = self.c
        after = c.emit(R.add(number, c.ints(1)))
        goes_on = self._both(made.goes_on, self._below(after))
        stacked = [c.emit(R.expand_dims(value, 0)) for value in made.collected]
        return [after, const(True) if goes_on is None else goes_on, *made.state, *stacked]

    def _changes(
        self, before: Sequence[Expr], after: Sequence[Expr], own: set[tirx.Var]
    ) -> list[tuple[int, int]]:
        """State and axis of each dim that a turn may change and that is no symbol of its own."""
        c = self.c
        changes = []
        for i, (old, new) in enumerate(zip(before, after, strict=True)):
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


class _Step:
    """The recursive function of a loop, and calls of it.

    dims: of each result, with None where only the run can tell.
    """

    def __init__(
        self,
        c: Context,
        params: list[relax.Var],
        body: relax.SeqExpr,
        fields: list[Expr],
        dims: list[list[Dim | None]],
        own: set[tirx.Var],
    ) -> None:
        self.c, self.params = c, params
        self.states = len(params) - 2
        free = relax.analysis.free_vars(body)
        mine = set(params)
        self.captured = [v for v in free if v not in mine and not isinstance(v.ty, PrimType)]
        outside = [*params, *self.captured]
        known = _symbols(outside) - own
        self.dims = [
            [None if dim is None or not _symbols_of(dim) <= known else dim for dim in shape]
            for shape in dims
        ]
        self.dtypes = [str(value.ty.dtype) for value in fields]
        types = [
            relax.TensorType(dtype=dtype, ndim=len(shape))
            if None in shape
            else relax.TensorType(shape, dtype)
            for shape, dtype in zip(self.dims, self.dtypes, strict=True)
        ]
        # Symbols that no operand's type determines are handed over as a shape.
        ret_ty = relax.TupleType(types)
        whole = relax.Function(outside, body, ret_ty)
        self.symbols = list(relax.analysis.free_symbolic_vars(whole))
        name = f"main_{identifier(c.hint)}_loop"
        promise = R.call_pure_packed("sod2.loop", *outside, ty_args=ret_ty)
        self.gvar = c.bb.add_func(self._function(promise, ret_ty), name)
        c.bb.update_func(self.gvar, self._function(self._halves(body), ret_ty))

    def _function(self, body: Expr, ret_ty: Any) -> relax.Function:
        params = [*self.params, *self.captured]
        if self.symbols:
            params.append(relax.Var("symbols", relax.ShapeType(self.symbols)))
        if not isinstance(body, relax.SeqExpr):
            result = relax.Var("result", ret_ty)
            block = relax.BindingBlock([relax.VarBinding(result, body)])
            body = relax.SeqExpr([block], result)
        made = copy_with_new_vars(relax.Function(params, body, ret_ty, is_pure=True))
        return self.c.bb.normalize(made)

    def _halves(self, body: relax.SeqExpr) -> relax.SeqExpr:
        """`body` where depth is 0, else twice the half of the turns."""
        c, (depth, number, *state) = self.c, self.params

        def halves() -> list[Expr]:
            less = c.emit(R.subtract(depth, c.ints(1)))
            after, goes_on, *rest = self.call(less, number, state)
            middle, collected = rest[: self.states], rest[self.states :]

            def more() -> list[Expr]:
                last, still, *end = self.call(less, after, middle)
                pairs = zip(collected, end[self.states :], strict=True)
                joined = [self._joined(a, b) for a, b in pairs]
                return [last, still, *end[: self.states], *joined]

            branch = relax.If(goes_on, block(c, more), block(c, lambda: [after, goes_on, *rest]))
            return self.unpack(c.bb.emit(branch))

        c.bb._begin_binding_block()
        last = c.emit(R.equal(depth, c.ints(0)))
        result = c.bb.emit(relax.If(last, body, block(c, halves)))
        return relax.SeqExpr([c.bb._end_block()], result)

    def _joined(self, a: Expr, b: Expr) -> Expr:
        """What two halves collected: turns give tensors of one shape."""
        c = self.c
        return c.emit(R.concat([a, c.equate(b, [c.dims(b)[0], *c.dims(a)[1:]])], 0))

    def call(self, depth: Expr, number: Expr, state: Sequence[Expr]) -> list[Expr]:
        arguments = [depth, number, *state, *self.captured]
        if self.symbols:
            arguments.append(relax.ShapeExpr(self.symbols))
        return self.unpack(self.c.bb.emit(relax.Call(self.gvar, arguments)))

    def unpack(self, result: Expr) -> list[Expr]:
        return [
            self.c.emit(
                relax.TupleGetItem(result, i),
                [self._fresh(i, axis) if dim is None else dim for axis, dim in enumerate(shape)],
            )
            for i, shape in enumerate(self.dims)
        ]

    def _fresh(self, i: int, axis: int) -> tirx.Var:
        return self.c.module.symbols.fresh(f"{self.c.hint}_r{i}_d{axis}")

    def nothing(self) -> list[Expr]:
        """What no turns collect; a dim that only a turn could tell is 0."""
        start = 2 + self.states
        made = []
        for shape, dtype in zip(self.dims[start:], self.dtypes[start:], strict=True):
            dims = [0, *(0 if dim is None else dim for dim in shape[1:])]
            if all(isinstance(dim, int) for dim in dims):
                made.append(const(np.zeros(dims, dtype)))
            else:
                made.append(self.c.emit(R.zeros(relax.ShapeExpr(dims), dtype)))
        return made


def block(c: Context, emit: Callable[[], list[Expr]]) -> relax.SeqExpr:
    """What `emit` emits as the arm of an If that gives a tuple."""
    c.bb._begin_binding_block()
    result = c.bb.emit(relax.Tuple(emit()))
    return relax.SeqExpr([c.bb._end_block()], result)


def _symbols(values: Sequence[Expr]) -> set[tirx.Var]:
    shapes = [value.ty.shape for value in values if isinstance(value.ty, relax.TensorType)]
    return {
        s for shape in shapes if shape is not None for d in shape.values for s in _symbols_of(d)
    }


def _symbols_of(dim: Dim) -> set[tirx.Var]:
    return set(tirx.analysis.undefined_vars(expr(dim)))
