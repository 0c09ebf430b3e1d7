"""Matrix products."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter, Dim
from tvm_sod2.frontend.converters.shape import stretched
from tvm_sod2.frontend.dims import broadcast_dims, expr, is_same

Attrs = dict[str, Any]
Inputs = list[Any]


def _product_dims(c: Context, a: Expr, b: Expr) -> list[Dim]:
    """Return the dims of a @ b: batch axes broadcast, 1-D operands lose their axis."""
    left, right = c.dims(a), c.dims(b)
    inner = (left[-1], right[-1] if len(right) == 1 else right[-2])
    if all(isinstance(dim, int) for dim in inner) and inner[0] != inner[1]:
        raise c.error(f"shapes {left} and {right}: inner dims {inner[0]} and {inner[1]} differ")
    batch_left, batch_right = left[:-2], right[:-2]
    dims: list[Dim] = []
    rank = max(len(batch_left), len(batch_right))
    for axis in range(-rank, 0):
        column = [side[axis] for side in (batch_left, batch_right) if len(side) >= -axis]
        dim = broadcast_dims(column)
        dims.append(c.module.symbols.fresh(f"{c.hint}_d{axis + rank}") if dim is None else dim)
    if len(left) > 1:
        dims.append(left[-2])
    if len(right) > 1:
        dims.append(right[-1])
    return dims


def matmul(c: Context, a: Expr, b: Expr, name: str = "") -> Expr:
    """Emit a @ b under NumPy's rules."""
    dims = _product_dims(c, a, b)
    left, right = c.dims(a), c.dims(b)
    inner = right[0] if len(right) == 1 else right[-2]
    if isinstance(inner, int):
        a = c.equate(a, [*left[:-1], inner])
    elif len(right) == 1:
        b = c.equate(b, left[-1:])
    else:
        b = c.equate(b, [*right[:-2], left[-1], right[-1]])
    return c.emit(R.matmul(a, b), dims, name)


def _matmul(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    a, b = inputs
    if c.rank(a) == 0 or c.rank(b) == 0:
        raise c.error("a matrix product of a scalar is not defined")
    return matmul(c, a, b, c.node.output[0])


def _transposed(c: Context, matrix: Expr) -> Expr:
    array = c.constant(matrix)
    if array is not None:
        return const(np.ascontiguousarray(array.T))
    return c.emit(R.permute_dims(matrix, [1, 0]))


def _gemm(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    a, b, bias = (*inputs, None)[:3]
    if c.rank(a) != 2 or c.rank(b) != 2:
        raise c.error(f"its operands have rank {c.rank(a)} and {c.rank(b)}; matrices are expected")
    alpha, beta = attrs.get("alpha", 1.0), attrs.get("beta", 1.0)
    a = _transposed(c, a) if attrs.get("transA") else a
    b = _transposed(c, b) if attrs.get("transB") else b
    y = matmul(c, a, b)
    if alpha != 1:
        y = c.emit(R.multiply(y, const(np.asarray(alpha).astype(c.dtype(y)))))
    if bias is None or beta == 0:
        return y
    if beta != 1:
        array = c.constant(bias)
        scale = np.asarray(beta).astype(c.dtype(bias))
        if array is not None:
            bias = const((array * scale).astype(array.dtype))
        else:
            bias = c.emit(R.multiply(bias, const(scale)))
    return c.broadcast(R.add, y, bias)


def _without_ellipsis(c: Context, equation: str, ranks: list[int]) -> str:
    """Return the equation with letters in the place of each ellipsis, aligned to the right."""
    terms, arrow, result = equation.partition("->")
    unused = [letter for letter in string.ascii_letters if letter not in equation]
    hidden = [
        rank - len(term.replace("...", "")) if "..." in term else 0
        for term, rank in zip(terms.split(","), ranks, strict=True)
    ]
    if min(hidden) < 0 or max(hidden) > len(unused):
        raise c.error(f"{equation!r} does not fit operands of rank {ranks}")
    names = "".join(unused[: max(hidden)])
    given = [
        term.replace("...", names[len(names) - count :])
        for term, count in zip(terms.split(","), hidden, strict=True)
    ]
    if not arrow:
        letters = terms.replace(",", "").replace("...", "")
        result = "..." + "".join(sorted(x for x in set(letters) if letters.count(x) == 1))
    return f"{','.join(given)}->{result.replace('...', names)}"


def _einsum(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    equation = attrs["equation"].replace(" ", "")
    if "..." in equation:
        equation = _without_ellipsis(c, equation, [c.rank(x) for x in inputs])
    if "->" not in equation:
        letters = equation.replace(",", "")
        result = "".join(sorted(x for x in set(letters) if letters.count(x) == 1))
        equation = f"{equation}->{result}"
    given, _, result = equation.partition("->")
    terms = given.split(",")
    if [len(term) for term in terms] != [c.rank(x) for x in inputs]:
        shapes = [c.dims(x) for x in inputs]
        raise c.error(f"equation {equation!r} does not fit inputs of shapes {shapes}")
    if set(result) - set(given):
        raise c.error(f"equation {equation!r}: its result has a label that no input has")
    return R.einsum(tuple(_of_common_dims(c, inputs, terms)), equation)


def _of_common_dims(c: Context, inputs: Inputs, terms: list[str]) -> Inputs:
    """The operands with those axes stretched whose label may be 1 here and more elsewhere."""
    shapes = [c.dims(x) for x in inputs]
    columns: dict[str, list[Dim]] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for label, dim in zip(term, shape, strict=True):
            columns.setdefault(label, []).append(dim)
    common = {label: _common_dim(c, column) for label, column in columns.items()}
    targets = [[common[label] for label in term] for term in terms]
    return [
        x if all(map(is_same, shape, target)) else c.emit(stretched(c, x, target))
        for x, shape, target in zip(inputs, shapes, targets, strict=True)
    ]


def _common_dim(c: Context, column: list[Dim]) -> Dim:
    """What the dims broadcast to; a symbol for the one that is not 1, where only the run tells."""
    try:
        known = broadcast_dims(column)
    except ValueError as error:
        raise c.error(f"dims of one label differ: {error}") from None
    if known is not None:
        return known
    dims = [c.emit(R.shape_to_tensor(relax.ShapeExpr([expr(dim)]))) for dim in column]
    whole = dims[0]
    for dim in dims[1:]:
        whole = c.emit(R.where(c.emit(R.equal(whole, c.ints(1))), dim, whole))
    return c.symbols_of(whole, 1)[0]


CONVERTERS: dict[str, Converter] = {"Einsum": _einsum, "Gemm": _gemm, "MatMul": _matmul}
