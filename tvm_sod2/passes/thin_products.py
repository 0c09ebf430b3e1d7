"""Products of one row or one column read a transposed operand where it lies.

matmul(x, permute_dims(w))  ->  reshape(matmul(w, reshape(x)))   x of one row
matmul(permute_dims(w), x)  ->  reshape(matmul(reshape(x), w))   x of one column

The other order would copy all of w to multiply each number once. It runs after attention is formed,
whose kernel reads transposed operands itself.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.passes.inline_leaves import inline_leaves
from tvm_sod2.passes.mutate import map_functions
from tvm_sod2.passes.operand_views import is_one


@tvm.transform.module_pass(opt_level=0, name="ThinProducts")
def thin_products(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Apply the rules above; transposes that nothing uses any more are removed."""
    return inline_leaves(map_functions(mod, lambda func: _Rewriter().visit_expr(func)))


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> Expr:
        call = super().visit_call_(call)
        if getattr(call.op, "name", "") != "relax.matmul" or not _float_matrices(call):
            return call
        a, b = call.args
        turned_a, turned_b = self._turned(a), self._turned(b)
        if turned_b is not None and is_one(a.ty.shape.values[-2]):
            swapped = R.matmul(turned_b, self._swapped(a))
        elif turned_a is not None and is_one(b.ty.shape.values[-1]):
            swapped = R.matmul(self._swapped(b), turned_a)
        else:
            return call
        return R.reshape(self.builder_.emit(swapped), call.ty.shape)

    def _turned(self, value: Expr) -> Expr | None:
        """What a value is the transpose of, in its last two axes."""
        made: Any = self.lookup_binding(value) if isinstance(value, tvm.ir.Var) else None
        if getattr(getattr(made, "op", None), "name", "") != "relax.permute_dims":
            return None
        rank = value.ty.ndim
        order = list(made.attrs.axes) if made.attrs.axes else list(reversed(range(rank)))
        wanted = [*range(rank - 2), rank - 1, rank - 2]
        return made.args[0] if [int(axis) % rank for axis in order] == wanted else None

    def _swapped(self, vector: Expr) -> Expr:
        """A row as a column, or a column as a row."""
        *batch, rows, columns = vector.ty.shape.values
        return self.builder_.emit(R.reshape(vector, relax.ShapeExpr([*batch, columns, rows])))


def _float_matrices(call: relax.Call) -> bool:
    types = [value.ty for value in (*call.args, call)]
    return all(ty.shape is not None and ty.ndim > 1 and str(ty.dtype) == "float32" for ty in types)
