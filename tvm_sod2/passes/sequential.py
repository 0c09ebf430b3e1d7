"""Operators that are loops with state, lowered to kernels of their own before fusion.

TVM's stock lowering of these calls Python (`nonzero`, `unique`), a library that ignores the offsets
of an arena (`argsort`, `topk`), or does not exist on CPU (`cumsum`). A result whose size only the
run knows takes two kernels, and the symbol for the size is bound between them:

    n = R.call_tir(count, x, R.Tensor((1,)))
    _ = R.match_cast(R.tensor_to_shape(n), R.Shape([m]))
    y = R.call_tir(fill, x, R.Tensor((m,)))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx
from tvm.relax import Expr, TensorType
from tvm.relax import op as R

from tvm_sod2.passes.mutate import rewrite_functions
from tvm_sod2.schedules import sequential
from tvm_sod2.schedules.scatter import scatter_along, scatter_rows
from tvm_sod2.schedules.selection import select_best

Lowering = Callable[[relax.BlockBuilder, Any], Expr]


@tvm.transform.module_pass(opt_level=0, name="LowerSequential")
def lower_sequential(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Replace every operator in the table whose operand has a known shape, symbolic or not."""
    return rewrite_functions(mod, _Rewriter(mod))


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> Expr:
        call = self.visit_expr_post_order(call)
        lowering = _LOWERINGS.get(getattr(call.op, "name", ""))
        if lowering is None or getattr(call.args[0].ty, "shape", None) is None:
            return call
        return lowering(self.builder_, call)


def call_kernel(
    bb: relax.BlockBuilder, kernel: tirx.PrimFunc, args: Sequence[Expr], out: Any
) -> relax.Var:
    """Bind the call of a scheduled kernel; ``out`` is its result type or a list of them."""
    gvar = bb.add_func(kernel, str(kernel.attrs.get("global_symbol", "sequential")))
    return bb.emit(relax.call_tir(gvar, list(args), out))


def bound_size(bb: relax.BlockBuilder, size: Expr, hint: str) -> tirx.Var:
    """Bind an int64 vector of one entry, known after a kernel ran, to a fresh symbol."""
    symbol = tirx.Var(hint, "int64")
    bb.match_cast(bb.emit(R.tensor_to_shape(size)), relax.ShapeType([symbol]))
    return symbol


def head(bb: relax.BlockBuilder, vector: Expr, size: Any) -> relax.Var:
    """The first ``size`` rows."""
    return bb.emit(R.strided_slice(vector, [0], [0], [size], [1], assume_inbound=True))


def _product(dims: Sequence[Any]) -> Any:
    return tvm.sym.Analyzer().simplify(reduce(lambda a, b: a * b, dims, tirx.const(1, "int64")))


def _shaped(bb: relax.BlockBuilder, x: Expr, dims: Sequence[Any]) -> Expr:
    """The tensor with other dims. A reshape reads a 0 as a dim to copy; there is no entry, too."""
    shape = relax.ShapeExpr(list(dims))
    if any(isinstance(dim, tirx.IntImm) and dim.value == 0 for dim in shape.values):
        return bb.emit(R.zeros(shape, x.ty.dtype))
    return bb.emit(R.reshape(x, shape))


def _canonical(bb: relax.BlockBuilder, x: Expr, axis: int | None) -> Expr:
    """The tensor as (outer, axis, inner); flattened for no axis."""
    dims = list(x.ty.shape)
    if axis is None:
        shape = [1, _product(dims), 1]
    else:
        axis %= len(dims)
        shape = [_product(dims[:axis]), dims[axis], _product(dims[axis + 1 :])]
    return _shaped(bb, x, shape)


def _scan(combine: Callable[[Any, Any], Any], neutral: int) -> Lowering:
    def lowering(bb: relax.BlockBuilder, call: Any) -> Expr:
        x, attrs = call.args[0], call.attrs
        dtype = str(call.ty.dtype)
        if str(x.ty.dtype) != dtype:
            x = bb.emit(R.astype(x, dtype))
        whole = _canonical(bb, x, None if attrs.axis is None else int(attrs.axis))
        start = neutral if bool(attrs.exclusive) else None
        rows = attrs.axis is None or int(attrs.axis) % x.ty.ndim == x.ty.ndim - 1
        kernel = sequential.scan(dtype, combine, start, rows)
        y = call_kernel(bb, kernel, [whole], TensorType(whole.ty.shape, dtype))
        return R.reshape(y, call.ty.shape)

    return lowering


def _order(bb: relax.BlockBuilder, x: Expr, axis: int, descending: bool, index: str) -> Expr:
    """Positions along the axis in sorted order, in the shape of ``x``."""
    whole = _canonical(bb, x, axis)
    kernel = sequential.argsort(str(x.ty.dtype), index, descending)
    ty = TensorType(whole.ty.shape, index)
    both = call_kernel(bb, kernel, [whole], [ty, ty])
    return bb.emit(R.reshape(bb.emit(relax.TupleGetItem(both, 0)), x.ty.shape))


def _argsort(bb: relax.BlockBuilder, call: Any) -> Expr:
    attrs = call.attrs
    return _order(bb, call.args[0], int(attrs.axis), bool(attrs.descending), str(attrs.dtype))


def _sort(bb: relax.BlockBuilder, call: Any) -> Expr:
    x, axis = call.args[0], int(call.attrs.axis)
    order = _order(bb, x, axis, bool(call.attrs.descending), "int64")
    return R.gather_elements(x, order, axis % x.ty.ndim)


def _topk(bb: relax.BlockBuilder, call: Any) -> Expr:
    x, attrs = call.args[0], call.attrs
    axis, k = int(attrs.axis) % x.ty.ndim, int(attrs.k)
    size = x.ty.shape[axis]
    kept = tvm.sym.Analyzer().simplify(tirx.min(size, tirx.const(k, "int64"))) if k > 0 else size
    # What is compared lies side by side.
    last = [*(a for a in range(x.ty.ndim) if a != axis), axis]
    rows = x if axis == x.ty.ndim - 1 else bb.emit(R.permute_dims(x, last))
    *outer, _ = rows.ty.shape.values
    kernel = select_best(str(x.ty.dtype), bool(attrs.largest))
    matrix = _shaped(bb, rows, [_product(outer), size])
    order = call_kernel(bb, kernel, [matrix], TensorType([_product(outer), kept], "int64"))
    order = bb.emit(R.reshape(order, relax.ShapeExpr([*outer, kept])))
    if rows is not x:
        order = bb.emit(R.permute_dims(order, [last.index(a) for a in range(x.ty.ndim)]))
    values = bb.emit(R.gather_elements(x, order, axis))
    indices = bb.emit(R.astype(order, str(attrs.dtype)))
    results = {"both": [values, indices], "values": [values], "indices": [indices]}
    chosen = results[str(attrs.ret_type)]
    return relax.Tuple(chosen) if len(chosen) == 2 else chosen[0]


def _nonzero(bb: relax.BlockBuilder, call: Any) -> Expr:
    x = call.args[0]
    dims, dtype = list(x.ty.shape), str(x.ty.dtype)
    flat = _shaped(bb, x, [_product(dims)])
    total = call_kernel(bb, sequential.count_nonzero(dtype), [flat], TensorType([1], "int64"))
    found = bound_size(bb, total, "nonzero")
    kernel = sequential.fill_nonzero(dtype)
    place = call_kernel(bb, kernel, [flat], TensorType([found], "int64"))
    if len(dims) <= 1:
        return R.reshape(place, relax.ShapeExpr([len(dims), found]))
    rows = []
    for axis, dim in enumerate(dims):
        stride, row = _product(dims[axis + 1 :]), place
        if axis < len(dims) - 1:
            row = bb.emit(R.floor_divide(row, _number(bb, stride)))
        if axis:
            row = bb.emit(R.floor_mod(row, _number(bb, dim)))
        rows.append(bb.emit(R.reshape(row, relax.ShapeExpr([1, found]))))
    return R.concat(rows, 0)


def _number(bb: relax.BlockBuilder, dim: Any) -> Expr:
    """A dim as an int64 tensor that broadcasts, at least 1: nothing divides by a dim of 0."""
    if isinstance(dim, tirx.IntImm):
        return relax.const(np.asarray(max(int(dim), 1), "int64"), "int64")
    size = bb.emit(R.shape_to_tensor(bb.normalize(relax.ShapeExpr([dim]))))
    return bb.emit(R.maximum(size, relax.const(1, "int64")))


def _scatter_nd(bb: relax.BlockBuilder, call: Any) -> Expr:
    x, indices, updates = call.args
    depth = indices.ty.shape[-1]
    if not isinstance(depth, tirx.IntImm):
        return call
    deep = int(depth)
    dims, rows = list(x.ty.shape), _product(list(indices.ty.shape)[:-1])
    width = _product(dims[deep:])
    data = _shaped(bb, x, [*dims[:deep], width])
    operands = [data, _shaped(bb, indices, [rows, depth]), _shaped(bb, updates, [rows, width])]
    kernel = scatter_rows(str(x.ty.dtype), str(indices.ty.dtype), deep, str(call.attrs.reduction))
    return R.reshape(call_kernel(bb, kernel, operands, data.ty), call.ty.shape)


def _scatter_elements(bb: relax.BlockBuilder, call: Any) -> Expr:
    x, indices, _ = call.args
    rank, attrs = int(x.ty.ndim), call.attrs
    if rank == 0 or str(attrs.reduction) == "mean":
        return call
    axis = int(attrs.axis) % rank
    dtypes = str(x.ty.dtype), str(indices.ty.dtype)
    kernel = scatter_along(*dtypes, rank, axis, str(attrs.reduction))
    return call_kernel(bb, kernel, list(call.args), call.ty)


def _unique(bb: relax.BlockBuilder, call: Any) -> Expr:
    x = call.args[0]
    in_order, index, inverse, counts = (_flag(arg) for arg in call.args[1:5])
    axis = _flag(call.args[5]) if len(call.args) > 5 else None
    whole = _canonical(bb, x, axis)
    size = whole.ty.shape[1]
    kernel = sequential.unique(str(x.ty.dtype), bool(in_order))
    vector, one = TensorType([size], "int64"), TensorType([1], "int64")
    parts = call_kernel(bb, kernel, [whole], [vector, vector, vector, one, vector, vector])
    first, like, often, total = (bb.emit(relax.TupleGetItem(parts, i)) for i in range(4))
    found = bound_size(bb, total, "unique")
    first, often = head(bb, first, found), head(bb, often, found)
    if axis is None:
        flat = _shaped(bb, x, [size])
        values = bb.emit(R.take(flat, first, 0, mode="clip"))
    else:
        values = bb.emit(R.take(x, first, axis % x.ty.ndim, mode="clip"))
    wanted = zip((index, inverse, counts), (first, like, often), strict=True)
    results = [values, *(value for asked, value in wanted if asked)]
    return values if len(results) == 1 else relax.Tuple(results)


def _flag(argument: Any) -> int | None:
    """A scalar operand of `unique`: immediates and constants both occur."""
    if isinstance(argument, tvm.ir.GenericConst):
        return int(argument.value.numpy())
    value = getattr(argument, "value", argument)
    return None if value is None else int(value)


_LOWERINGS: dict[str, Lowering] = {
    "relax.argsort": _argsort,
    "relax.cumprod": _scan(lambda a, b: a * b, 1),
    "relax.cumsum": _scan(lambda a, b: a + b, 0),
    "relax.nonzero": _nonzero,
    "relax.scatter_elements": _scatter_elements,
    "relax.scatter_nd": _scatter_nd,
    "relax.sort": _sort,
    "relax.topk": _topk,
    "relax.unique": _unique,
}
