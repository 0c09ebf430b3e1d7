"""Undo run-time broadcasting where RDP has proved what it does.

    take(x, arange(n), axis)  ->  x                        where x's dim is n
                              ->  broadcast_to(x, (.., n, ..))  where x's dim is 1

The importer stretches an axis this way when nothing tells whether it is 1 or already n.
"""

from __future__ import annotations

import tvm
from tvm import relax, tirx

from tvm_sod2.passes.inline_leaves import inline_leaves
from tvm_sod2.passes.mutate import map_functions


@tvm.transform.module_pass(opt_level=0, name="FoldStretches")
def fold_stretches(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Replace takes of all indices of an axis in order; what becomes unused is removed."""
    return inline_leaves(map_functions(mod, lambda func: _Folder().visit_expr(func)))


@relax.expr_functor.mutator
class _Folder(relax.PyExprMutator):
    def __init__(self) -> None:
        super().__init__()
        self.analyzer = tvm.sym.Analyzer()

    def visit_call_(self, call: relax.Call) -> tvm.ir.Expr:
        call = super().visit_call_(call)
        if not isinstance(call.op, tvm.ir.Op) or call.op.name != "relax.take":
            return call
        source, length = call.args[0], self._all_of(call.args[1])
        if length is None or call.attrs.axis is None or source.ty.shape is None:
            return call
        dims = list(source.ty.shape.values)
        axis = int(call.attrs.axis) % len(dims)
        if self.analyzer.can_prove_equal(dims[axis], length):
            return source
        if self.analyzer.can_prove_equal(dims[axis], 1):
            dims[axis] = length
            return relax.op.broadcast_to(source, relax.ShapeExpr(dims))
        return call

    def _all_of(self, index: tvm.ir.Expr) -> tvm.ir.Expr | None:
        """n where the index is arange(0, n, 1)."""
        value = self.lookup_binding(index) if isinstance(index, tvm.ir.Var) else index
        if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op):
            return None
        if value.op.name != "relax.arange":
            return None
        start, end, step = value.args
        plain = all(isinstance(e, tirx.IntImm) for e in (start, step))
        return end if plain and int(start) == 0 and int(step) == 1 else None
