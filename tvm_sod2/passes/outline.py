"""Each arm of an ``If`` becomes a private function, so that every later pass sees straight lines.

    y = R.If(c)                              y = R.If(c)
        then: gv = R.nn.relu(x); gv    ->        then: cls.main_then_0(x)
        else: gv = R.exp(x); gv                  else: cls.main_else_0(x)

Variables of the outside that an arm uses become parameters; so do the symbolic dims that their
types do not determine. Arms within arms are outlined the same way, from
the inside out. Only the arm that is taken runs.
"""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.ir import PrimType
from tvm.relax.utils import copy_with_new_vars
from tvm_ffi import structural_equal

from tvm_sod2.memory.symbols import free_symbols


@tvm.transform.module_pass(opt_level=0, name="OutlineControlFlow")
class OutlineControlFlow:
    """Outline the arms of every ``If`` in a module."""

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        builder = relax.BlockBuilder(mod)
        for gvar, func in mod.functions.items():
            if isinstance(func, relax.Function):
                body = _Outliner(gvar.name_hint, builder).sequence(func.body)
                if not body.same_as(func.body):
                    builder.update_func(gvar, _with_body(func, body))
        return builder.get()


class _Outliner:
    """Outlines the arms in one function's body; arms are numbered in program order."""

    def __init__(self, name: str, builder: relax.BlockBuilder) -> None:
        self._name = name
        self._builder = builder
        self._count = 0

    def sequence(self, body: relax.SeqExpr) -> relax.SeqExpr:
        """`body` with its arms outlined; the same object where it has none."""
        blocks, changed = [], False
        for block in body.blocks:
            # A dataflow block holds no control flow.
            if any(isinstance(binding.value, relax.If) for binding in block.bindings):
                bindings: list[relax.Binding] = []
                for binding in block.bindings:
                    bindings += self._binding(binding)
                block, changed = relax.BindingBlock(bindings), True
            blocks.append(block)
        return self._builder.normalize(relax.SeqExpr(blocks, body.body)) if changed else body

    def _binding(self, binding: relax.Binding) -> list[relax.Binding]:
        branch = binding.value
        if not isinstance(branch, relax.If):
            return [binding]
        number = self._count
        self._count += 1
        then = self._arm(branch.true_branch, f"{self._name}_then_{number}")
        other = self._arm(branch.false_branch, f"{self._name}_else_{number}")
        outlined = self._builder.normalize(relax.If(branch.cond, then, other, branch.span))
        known = binding.var.ty
        if isinstance(binding, relax.MatchCast):
            return [relax.MatchCast(binding.var, outlined, binding.ty)]
        if structural_equal(outlined.ty, known):
            return [relax.VarBinding(binding.var, outlined)]
        # A call's type may say less than the arm did: say it again, checked.
        merged = relax.Var(f"{binding.var.name}_merged", outlined.ty)
        return [
            relax.VarBinding(merged, outlined),
            relax.MatchCast(binding.var, merged, known),
        ]

    def _arm(self, arm: relax.SeqExpr, name: str) -> relax.SeqExpr:
        """`arm` as a call of a new function, or as it is where it computes nothing."""
        if not any(block.bindings for block in arm.blocks):
            return arm
        inner = self.sequence(arm)
        pure = not relax.analysis.contains_impure_call(inner)
        captured = [v for v in relax.analysis.free_vars(inner) if not isinstance(v.ty, PrimType)]
        # Symbols that no captured variable's type determines are parameters like the rest.
        captured += free_symbols(relax.Function(captured, inner, is_pure=pure))
        func = copy_with_new_vars(relax.Function(captured, inner, is_pure=pure))
        gvar = self._builder.add_func(func, name)
        call = self._builder.normalize(relax.Call(gvar, captured))
        result = relax.Var("arm", call.ty)
        block = relax.BindingBlock([relax.VarBinding(result, call)])
        return self._builder.normalize(relax.SeqExpr([block], result))


def _with_body(func: relax.Function, body: relax.SeqExpr) -> relax.Function:
    return relax.Function(func.params, body, func.ret_ty, func.is_pure, func.attrs, func.span)
