"""Remove transposes that undo each other.

    permute_dims(permute_dims(x, p), q)                 ->  permute_dims(x, p o q), x where identity
    permute_dims(reshape(permute_dims(x, p), s), q)     ->  reshape(x, s o q)
        where the reshape only merges or drops axes and every axis ends up in x's own order

Layout conversion leaves such pairs at the borders of its regions.
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import relax

from tvm_sod2.op_classes import Arithmetic
from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import entries
from tvm_sod2.passes.inline_leaves import inline_leaves
from tvm_sod2.passes.mutate import map_functions


@tvm.transform.module_pass(opt_level=0, name="CancelPermutes")
def cancel_permutes(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Apply the rules above; what becomes unused is removed."""
    mod = map_functions(mod, lambda func: _Canceller().visit_expr(func))
    return inline_leaves(mod)


@relax.expr_functor.mutator
class _Canceller(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> tvm.ir.Expr:
        call = super().visit_call_(call)
        order = _order(call)
        if order is None:
            return call
        inner = self._definition(call.args[0])
        inner_order = _order(inner)
        if inner is not None and inner_order is not None:
            return _permuted(inner.args[0], [inner_order[axis] for axis in order])
        if _is_reshape(inner):
            through = self._through_reshape(call, inner, order)
            return call if through is None else through
        return call

    def _definition(self, expr: tvm.ir.Expr) -> tvm.ir.Expr | None:
        return self.lookup_binding(expr) if isinstance(expr, tvm.ir.Var) else None

    def _through_reshape(
        self, call: relax.Call, reshape: relax.Call, order: list[int]
    ) -> tvm.ir.Expr | None:
        first = self._definition(reshape.args[0])
        first_order = _order(first)
        if first is None or first_order is None:
            return None
        groups = _merged_axes(_dims(reshape.args[0]), _dims(reshape))
        if groups is None:
            return None
        source = first.args[0]
        dims = _dims(source)
        axes = [first_order[axis] for position in order for axis in groups[position]]
        moved = [axis for axis in axes if not (isinstance(dims[axis], int) and dims[axis] == 1)]
        if moved != sorted(moved):
            return None
        return relax.op.reshape(source, relax.ShapeExpr(list(call.ty.shape.values)))


def _order(expr: tvm.ir.Expr | None) -> list[int] | None:
    """The axes of a permute_dims, or None for anything else."""
    if not isinstance(expr, relax.Call) or not isinstance(expr.op, tvm.ir.Op):
        return None
    if expr.op.name != "relax.permute_dims":
        return None
    rank = expr.args[0].ty.ndim
    axes = expr.attrs.axes
    return list(reversed(range(rank))) if axes is None else [int(a) % rank for a in axes]


def _is_reshape(expr: tvm.ir.Expr | None) -> bool:
    reshapes = ("relax.reshape", "relax.squeeze", "relax.flatten")
    return (
        isinstance(expr, relax.Call) and isinstance(expr.op, tvm.ir.Op) and expr.op.name in reshapes
    )


def _permuted(source: tvm.ir.Expr, order: list[int]) -> tvm.ir.Expr:
    return source if order == sorted(order) else relax.op.permute_dims(source, order)


def _dims(expr: tvm.ir.Expr) -> list[Entry]:
    return list(entries(list(expr.ty.shape.values)))


def _merged_axes(before: list[Entry], after: list[Entry]) -> list[list[int]] | None:
    """For each dim of `after`, the consecutive axes of `before` it is the product of.

    Axes of 1 join whatever group is open. None where the reshape splits an axis, or where
    nothing proves that it does not.
    """
    arithmetic = Arithmetic()
    groups: list[list[int]] = []
    axis = 0
    for wanted in after:
        group: list[int] = []
        product: Entry = 1
        while axis < len(before) and not _equal(arithmetic, product, wanted):
            product = arithmetic.multiply(product, before[axis])
            group.append(axis)
            axis += 1
        if not _equal(arithmetic, product, wanted):
            return None
        groups.append(group)
    rest = before[axis:]
    return groups if all(isinstance(dim, int) and dim == 1 for dim in rest) else None


def _equal(arithmetic: Arithmetic, a: Entry, b: Entry) -> bool:
    if isinstance(a, int) or isinstance(b, int):
        return arithmetic.equal(a, b)
    return bool(tvm_ffi.structural_equal(a, b)) or arithmetic.equal(a, b)
