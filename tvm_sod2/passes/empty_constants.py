"""Constants of no entry become allocations: TVM writes them into an executable that it cannot read.

kernel(R.const([], "float32"), ...)    ->    e = R.builtin.alloc_tensor(R.shape([0]), ...)
                                             kernel(e, ...)
"""

from __future__ import annotations

import tvm
from tvm import relax

from tvm_sod2.passes.mutate import rewrite_functions


@tvm.transform.module_pass(opt_level=0, name="EmptyConstants")
def empty_constants(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Allocate where a constant without entries is read. Runs when the arena has been planned."""
    return rewrite_functions(mod, _Rewriter(mod))


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def visit_generic_const_(self, op: tvm.ir.GenericConst) -> tvm.ir.Expr:
        if not isinstance(op.ty, relax.TensorType) or op.value.numpy().size:
            return op
        shape = relax.ShapeExpr([int(dim) for dim in op.ty.shape.values])
        return self.builder_.emit(
            relax.op.builtin.alloc_tensor(shape, str(op.ty.dtype), 0, "global"), "empty"
        )
