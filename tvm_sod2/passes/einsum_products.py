"""An einsum of two operands becomes a matrix product, which has kernels.

    einsum("bihd,bjhd->bhij", q, k)  ->  matmul(permute_dims(q), permute_dims(k))

Axes that both operands and the result have are its batch, those that the result lacks its
reduction; several of a kind are joined. Nothing to reduce makes it a multiplication. What stays are
diagonals, other numbers of operands, and dims of one label that are not provably equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.passes.mutate import map_functions


@tvm.transform.module_pass(opt_level=0, name="EinsumProducts")
def einsum_products(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Apply the rule above to every einsum of every Relax function."""
    return map_functions(mod, lambda func: _Rewriter().visit_expr(func))


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> Expr:
        call = super().visit_call_(call)
        if getattr(call.op, "name", "") != "relax.einsum":
            return call
        terms, _, result = str(call.attrs.subscripts).replace(" ", "").partition("->")
        operands = list(call.args[0].fields) if isinstance(call.args[0], relax.Tuple) else []
        labels = terms.split(",")
        if len(operands) != 2 or len(labels) != 2 or not _plain(labels, result):
            return call
        dims = _dims(operands, labels)
        if dims is None:
            return call
        if any(_is_none(dim) for dim in dims.values()):  # A reshape reads a 0 as a dim to copy.
            return R.zeros(relax.ShapeExpr([dims[label] for label in result]), call.ty.dtype)
        return _Product(self.builder_, dims).of(operands, labels, result)


def _plain(labels: list[str], result: str) -> bool:
    """Whether every operand and the result name each label once, and the result none of its own."""
    named = all(term.isalpha() and len(set(term)) == len(term) for term in labels)
    return named and len(set(result)) == len(result) and set(result) <= set("".join(labels))


def _dims(operands: Sequence[Expr], labels: list[str]) -> dict[str, Any] | None:
    """The dim of each label."""
    found: dict[str, Any] = {}
    equal = tvm.sym.Analyzer().can_prove_equal
    for operand, term in zip(operands, labels, strict=True):
        if operand.ty.shape is None or operand.ty.ndim != len(term):
            return None
        for label, dim in zip(term, operand.ty.shape.values, strict=True):
            if not equal(found.setdefault(label, dim), dim):
                return None
    return found


class _Product:
    """Writes the product of two operands."""

    def __init__(self, builder: relax.BlockBuilder, dims: dict[str, Any]) -> None:
        self.builder, self.sizes = builder, dims

    def of(self, operands: list[Expr], labels: list[str], result: str) -> Expr:
        both = set(labels[0]) & set(labels[1])
        pairs = [
            self.summed(x, term, set(result) | both)
            for x, term in zip(operands, labels, strict=True)
        ]
        own = [label for label in result if label not in both]
        if own and own[-1] in labels[0]:
            pairs.reverse()  # The last axis of the result is that of the second operand.
        (a, of_a), (b, of_b) = pairs
        batch = [label for label in result if label in both]
        left, right = ([x for x in result if x in term and x not in both] for term in (of_a, of_b))
        reduced = [label for label in of_a if label in both and label not in result]
        a = self.permuted(a, of_a, [*batch, *left, *reduced])
        b = self.permuted(b, of_b, [*batch, *reduced, *right])
        made = [*batch, *left, *right]
        if not reduced:
            shape = [*self.dims([*batch, *left]), *[_ONE] * len(right)]
            a = self.shaped(a, shape)
            b = self.shaped(b, [*self.dims(batch), *[_ONE] * len(left), *self.dims(right)])
            return self.permuted(self.builder.emit(R.multiply(a, b)), made, result)
        rows = [self.joined(left)] if batch or not left else self.dims(left)
        lead, inner, columns = self.dims(batch), self.joined(reduced), self.joined(right)
        a = self.shaped(a, [*lead, *rows, inner])
        b = self.shaped(b, [*lead, inner, columns])
        y = self.shaped(self.builder.emit(R.matmul(a, b)), self.dims(made))
        return self.permuted(y, made, result)

    def summed(self, x: Expr, term: str, kept: set[str]) -> tuple[Expr, str]:
        """The operand without the labels that nothing else has."""
        axes = [axis for axis, label in enumerate(term) if label not in kept]
        if not axes:
            return x, term
        return self.builder.emit(R.sum(x, axes)), "".join(x for x in term if x in kept)

    def dims(self, labels: Sequence[str]) -> list[Any]:
        return [self.sizes[label] for label in labels]

    def joined(self, labels: Sequence[str]) -> Any:
        size: Any = _ONE
        for label in labels:
            size = size * self.sizes[label]
        return tvm.sym.Analyzer().simplify(size)

    def permuted(self, x: Expr, given: Sequence[str], wanted: Sequence[str]) -> Expr:
        order = [list(given).index(label) for label in wanted]
        return x if order == sorted(order) else self.builder.emit(R.permute_dims(x, order))

    def shaped(self, x: Expr, dims: list[Any]) -> Expr:
        own, equal = list(x.ty.shape.values), tvm.sym.Analyzer().can_prove_equal
        if len(own) == len(dims) and all(map(equal, own, dims)):
            return x
        return self.builder.emit(R.reshape(x, relax.ShapeExpr(dims)))


def _is_none(dim: Any) -> bool:
    return isinstance(dim, tirx.IntImm) and dim.value == 0


_ONE = tirx.IntImm("int64", 1)
