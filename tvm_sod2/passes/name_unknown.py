"""Name what nobody knows: a fresh symbol for every dim that Relax's inference leaves out.

    y: Tensor(ndim=2) = op(x)   ->   lv: Tensor(ndim=2) = op(x)
                                     y: Tensor((y_0, y_1)) = match_cast(lv, Tensor((y_0, y_1)))

Everything behind such an operator is symbolic again, and RDP can then find what the symbols are.
"""

from __future__ import annotations

import tvm
from tvm import relax, tirx

from tvm_sod2.errors import BuildError
from tvm_sod2.passes.mutate import map_functions
from tvm_sod2.passes.names import Names


@tvm.transform.module_pass(opt_level=0, name="NameUnknownDims")
def name_unknown_dims(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Bind fresh symbols after every operator whose result's rank is known and dims are not.

    Raises BuildError, naming the operator, where not even the rank is known.
    """
    return map_functions(mod, lambda func: _Namer(func).visit_expr(func))


@relax.expr_functor.mutator
class _Namer(relax.PyExprMutator):
    def __init__(self, func: relax.Function) -> None:
        super().__init__()
        self.names = Names(func)
        self.matched: set[tvm.ir.Var] = set()  # a match_cast names their dims already

    def visit_binding_block_(self, block: relax.BindingBlock) -> relax.BindingBlock:
        self._note(block)
        return super().visit_binding_block_(block)

    def visit_dataflow_block_(self, block: relax.DataflowBlock) -> relax.BindingBlock:
        self._note(block)
        return super().visit_dataflow_block_(block)

    def _note(self, block: relax.BindingBlock) -> None:
        casts = (b.value for b in block.bindings if isinstance(b, relax.MatchCast))
        self.matched |= {value for value in casts if isinstance(value, tvm.ir.Var)}

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        value = self.visit_expr(binding.value)
        if binding.var in self.matched or not isinstance(value, relax.Call | relax.If):
            super().visit_var_binding_(relax.VarBinding(binding.var, value))
            return
        found = self.builder_.normalize(value).ty
        named = self._named(found, binding.var)
        if named is None:
            super().visit_var_binding_(relax.VarBinding(binding.var, value))
            return
        result = self.builder_.emit(value, binding.var.name)
        self.visit_binding(relax.MatchCast(binding.var, result, named))

    def _named(self, ty: tvm.ir.Type, var: tvm.ir.Var) -> relax.TensorType | None:
        """The type with fresh symbols, or None when there is nothing to name."""
        if not isinstance(ty, relax.TensorType) or ty.shape is not None:
            return None
        if ty.ndim < 0:
            raise BuildError(
                f"{self.names.node(var)}: the rank of its result is unknown; give its inputs "
                "types with a rank, or bind the result with match_cast"
            )
        dims = [tirx.Var(f"{var.name}_{axis}", "int64") for axis in range(ty.ndim)]
        return relax.TensorType(dims, ty.dtype)
