"""Put runs of pure bindings into dataflow blocks, where passes may move, fuse and drop them.

    y = exp(x); z = relu(y); if c: ...   ->   with dataflow(): y = exp(x); z = relu(y); output(z)
                                              if c: ...

TVM's ConvertToDataflow also canonicalises, which drops the checks of match_casts.
"""

from __future__ import annotations

from itertools import groupby

import tvm
from tvm import relax

from tvm_sod2.passes.mutate import map_functions


@tvm.transform.module_pass(opt_level=0, name="ToDataflow")
def to_dataflow(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Cut the plain blocks of every Relax function into dataflow blocks and what breaks them:
    control flow, local functions and calls with effects."""
    pure = {
        gvar
        for gvar, func in mod.functions_items()
        if isinstance(func, relax.Function) and func.is_pure
    }
    return map_functions(mod, lambda func: _Cutter(pure).visit_expr(func))


@relax.expr_functor.mutator
class _Cutter(relax.PyExprMutator):
    def __init__(self, pure_functions: set[tvm.ir.GlobalVar]) -> None:
        super().__init__()
        self.pure_functions = pure_functions
        self.local: set[tvm.ir.Var] = set()

    def visit_seq_expr_(self, op: relax.SeqExpr) -> tvm.ir.Expr:
        blocks: list[relax.BindingBlock] = []
        runs = [run for block in op.blocks for run in self._runs(block)]
        self.local |= _used_in_one_run(runs, op.body)
        for block in runs:
            blocks.append(self.visit_binding_block(block))
        return self.builder_.normalize(relax.SeqExpr(blocks, self.visit_expr(op.body)))

    def _runs(self, block: relax.BindingBlock) -> list[relax.BindingBlock]:
        if isinstance(block, relax.DataflowBlock):
            return [block]
        return [
            relax.DataflowBlock(list(run)) if pure else relax.BindingBlock(list(run))
            for pure, run in groupby(block.bindings, self._is_pure)
        ]

    def _is_pure(self, binding: relax.Binding) -> bool:
        value = binding.value
        if isinstance(value, relax.If | relax.Function):
            return False
        if not isinstance(value, relax.Call):
            return True
        if isinstance(value.op, tvm.ir.Op):
            return bool(value.op.get_attr("FPurity"))
        return value.op in self.pure_functions

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        if binding.var not in self.local:
            super().visit_var_binding_(binding)
            return
        value = self.builder_.normalize(self.visit_expr(binding.value))
        var = relax.DataflowVar(binding.var.name, binding.var.ty)
        self.builder_.emit_normalized(relax.VarBinding(var, value))
        self.set_var_remap(binding.var, var)

    def visit_match_cast_(self, binding: relax.MatchCast) -> None:
        if binding.var not in self.local:
            super().visit_match_cast_(binding)
            return
        value = self.builder_.normalize(self.visit_expr(binding.value))
        var = relax.DataflowVar(binding.var.name, binding.ty)
        self.builder_.emit_normalized(relax.MatchCast(var, value, binding.ty))
        self.set_var_remap(binding.var, var)


def _used_in_one_run(runs: list[relax.BindingBlock], result: tvm.ir.Expr) -> set[tvm.ir.Var]:
    """Variables of dataflow runs that nobody outside of their run reads."""
    readers: dict[tvm.ir.Var, set[int]] = {}
    for number, run in enumerate(runs):
        for binding in run.bindings:
            for var in relax.analysis.free_vars(binding.value):
                readers.setdefault(var, set()).add(number)
    for var in relax.analysis.free_vars(result):
        readers.setdefault(var, set()).add(len(runs))
    return {
        binding.var
        for number, run in enumerate(runs)
        if isinstance(run, relax.DataflowBlock)
        for binding in run.bindings
        if not isinstance(binding.var, relax.DataflowVar)
        and readers.get(binding.var, set()) <= {number}
    }
