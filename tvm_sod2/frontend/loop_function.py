"""The recursive function that a loop becomes, and calls of it; see `frontend.loops`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from tvm import relax, tirx
from tvm.ir import PrimType
from tvm.relax import Expr
from tvm.relax import op as R
from tvm.relax.utils import copy_with_new_vars

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Dim
from tvm_sod2.frontend.dims import expr
from tvm_sod2.frontend.names import identifier
from tvm_sod2.memory.symbols import free_symbols


class Step:
    """The recursive function of a loop, and calls of it.

    dims: of each result, with None where only the run can tell; None for what is no tensor.
    """

    def __init__(
        self,
        c: Context,
        params: list[relax.Var],
        body: relax.SeqExpr,
        fields: list[Expr],
        dims: list[list[Dim | None] | None],
        own: set[tirx.Var],
    ) -> None:
        self.c, self.params = c, params
        self.states = len(params) - 2
        free = relax.analysis.free_vars(body)
        mine = set(params)
        self.captured = [v for v in free if v not in mine and not isinstance(v.ty, PrimType)]
        outside = [*params, *self.captured]
        known = symbols_in(outside) - own
        self.dims = [
            shape and [None if d is None or not _symbols_of(d) <= known else d for d in shape]
            for shape in dims
        ]
        types = [_type(value, shape) for value, shape in zip(fields, self.dims, strict=True)]
        self.dtypes = [getattr(ty, "dtype", None) for ty in types]
        # Symbols that no operand's type determines are handed over as a shape.
        ret_ty = relax.TupleType(types)
        whole = relax.Function(outside, body, ret_ty)
        self.symbols = free_symbols(whole)
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
        known = [
            shape and [self._fresh(i, a) if dim is None else dim for a, dim in enumerate(shape)]
            for i, shape in enumerate(self.dims)
        ]
        return [self.c.emit(relax.TupleGetItem(result, i), dims) for i, dims in enumerate(known)]

    def _fresh(self, i: int, axis: int) -> tirx.Var:
        return self.c.module.symbols.fresh(f"{self.c.hint}_r{i}_d{axis}")

    def nothing(self) -> list[Expr]:
        """What no turns collect; a dim that only a turn could tell is 0."""
        start = 2 + self.states
        made = []
        for shape, dtype in zip(self.dims[start:], self.dtypes[start:], strict=True):
            dims = [0, *(0 if dim is None else dim for dim in (shape or [])[1:])]
            if all(isinstance(dim, int) for dim in dims):
                made.append(const(np.zeros(dims, str(dtype))))
            else:
                made.append(self.c.emit(R.zeros(relax.ShapeExpr(dims), dtype)))
        return made


def block(c: Context, emit: Callable[[], list[Expr]]) -> relax.SeqExpr:
    """What `emit` emits as the arm of an If that gives a tuple."""
    c.bb._begin_binding_block()
    result = c.bb.emit(relax.Tuple(emit()))
    return relax.SeqExpr([c.bb._end_block()], result)


def dims_of(c: Context, value: Expr) -> list[Dim] | None:
    """The dims of a tensor, None for any other object."""
    return c.dims(value) if isinstance(value.ty, relax.TensorType) else None


def _type(value: Expr, dims: list[Dim | None] | None) -> relax.Type:
    if dims is None:
        return value.ty
    if None in dims:
        return relax.TensorType(dtype=value.ty.dtype, ndim=len(dims))
    return relax.TensorType(dims, value.ty.dtype)


def symbols_in(values: Iterable[Any]) -> set[tirx.Var]:
    """The symbols in the dims of tensors; whatever else is among the values has none."""
    types = [value.ty for value in values if isinstance(value, Expr)]
    shapes = [ty.shape for ty in types if isinstance(ty, relax.TensorType)]
    return {
        s for shape in shapes if shape is not None for d in shape.values for s in _symbols_of(d)
    }


def _symbols_of(dim: Dim) -> set[tirx.Var]:
    return set(tirx.analysis.undefined_vars(expr(dim)))
