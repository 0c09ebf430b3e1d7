"""Remove broadcasts that RDP has proved to stretch nothing.

    broadcast_to(x: (n, m), (n, m))  ->  x

An exporter expands a tensor where it might be too small; the importer does as it is told.
"""

from __future__ import annotations

import tvm
from tvm import relax

from tvm_sod2.op_classes import Fact
from tvm_sod2.passes.inline_leaves import inline_leaves
from tvm_sod2.passes.mutate import map_functions


@tvm.transform.module_pass(opt_level=0, name="FoldStretches")
def fold_stretches(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Replace each `broadcast_to` its operand's own shape by the operand."""
    return inline_leaves(map_functions(mod, lambda func: _Folder().visit_expr(func)))


@relax.expr_functor.mutator
class _Folder(relax.PyExprMutator):
    def __init__(self) -> None:
        super().__init__()
        self.analyzer = tvm.sym.Analyzer()

    def visit_call_(self, call: relax.Call) -> tvm.ir.Expr:
        call = super().visit_call_(call)
        if not isinstance(call.op, tvm.ir.Op) or call.op.name != "relax.broadcast_to":
            return call
        source = call.args[0]
        old, new = Fact(source.ty).dims, Fact(call.args[1].ty).dims
        if old is None or new is None or len(old) != len(new):
            return call
        return source if all(map(self.analyzer.can_prove_equal, old, new)) else call
