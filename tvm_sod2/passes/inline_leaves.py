"""Remove bindings that only give a second name.

    b = a; c = relu(b)                ->  c = relu(a)
    s = R.shape([n, m]); reshape(x, s) ->  reshape(x, R.shape([n, m]))

TVM's CanonicalizeBindings does this too, but it also renames symbols across a match_cast, and would
undo the casts that keep a parameter's own dims at the border of the function.
"""

from __future__ import annotations

import tvm
from tvm import relax

from tvm_sod2.passes.mutate import map_functions


@tvm.transform.module_pass(opt_level=0, name="InlineLeaves")
def inline_leaves(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Replace dataflow variables bound to a variable, a constant or a shape by what they stand for;
    what becomes unused is removed."""
    mod = map_functions(mod, lambda func: _Inliner().visit_expr(func))
    return relax.transform.DeadCodeElimination()(mod)


def is_leaf(value: tvm.ir.Expr) -> bool:
    """Whether naming the value a second time says nothing."""
    return isinstance(value, tvm.ir.Var | tvm.ir.GenericConst | relax.ShapeExpr)


@relax.expr_functor.mutator
class _Inliner(relax.PyExprMutator):
    def __init__(self) -> None:
        super().__init__()
        self.leaves: dict[tvm.ir.Var, tvm.ir.Expr] = {}

    def visit_dataflow_var_(self, op: relax.DataflowVar) -> tvm.ir.Expr:
        return self.leaves[op] if op in self.leaves else super().visit_dataflow_var_(op)

    def visit_match_cast_(self, binding: relax.MatchCast) -> None:
        value = self.visit_expr(binding.value)
        if isinstance(value, relax.ShapeExpr):
            # TVM's VMShapeLower computes no expression that stands in the cast itself.
            value = self.builder_.emit(value)
        super().visit_match_cast_(relax.MatchCast(binding.var, value, binding.ty))

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        value = self.visit_expr(binding.value)
        if isinstance(binding.var, relax.DataflowVar) and is_leaf(value):
            self.leaves[binding.var] = value
        else:
            super().visit_var_binding_(relax.VarBinding(binding.var, value))
