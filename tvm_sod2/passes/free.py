"""Let go of every object after its last use, also where the function branches.

    y = cls.main_then_0(x)                 y = cls.main_then_0(x)
    z = R.call_packed("...", y)     ->     z = R.call_packed("...", y)
    ...                                    R.vm.kill_object(y)
                                           ...

TVM's `KillAfterLastUse` forgets what follows an ``If``, so that a network of many gated blocks
keeps the result of each until it returns. This pass runs on the VM's own form, last of all, since
it lets go of the registers inside the arms too: they are the VM's, but out of Relax's scope.
"""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.ir import PrimType

_KILL = "relax.vm.kill_object"


@tvm.transform.module_pass(opt_level=0, name="FreeAfterLastUse")
class FreeAfterLastUse:
    """Insert ``R.vm.kill_object`` in every Relax function; wants canonical bindings."""

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        builder = relax.BlockBuilder(mod)
        for gvar, func in mod.functions.items():
            if isinstance(func, relax.Function):
                body, _ = _free(func.body, builder)
                freed = relax.Function(
                    func.params, body, func.ret_ty, func.is_pure, func.attrs, func.span
                )
                builder.update_func(gvar, freed)
        return builder.get()


def _free(
    body: relax.SeqExpr, builder: relax.BlockBuilder
) -> tuple[relax.SeqExpr, list[relax.Var]]:
    """`body` with its kills, and the objects bound in it that its result refers to."""
    mine = {b.var for block in body.blocks for b in block.bindings if _holds_object(b)}
    result = [var for var in relax.analysis.free_vars(body.body) if var in mine]
    alive = set(result)
    blocks = []
    for block in reversed(body.blocks):
        bindings: list[relax.Binding] = []  # last to first
        for binding in reversed(block.bindings):
            # An arm lets go of its own objects, of what it shares with the outside we do here.
            used = [v for v in (*relax.analysis.free_vars(binding.value), binding.var) if v in mine]
            dead = [var for var in dict.fromkeys(used) if var not in alive]
            alive.update(used)
            if isinstance(binding.value, relax.If):
                binding, returned = _free_arms(binding, builder)
                dead += returned
            bindings += [_kill(var, builder) for var in reversed(dead)]
            bindings.append(binding)
        blocks.append(relax.BindingBlock(bindings[::-1]))
    return builder.normalize(relax.SeqExpr(blocks[::-1], body.body)), result


def _free_arms(
    binding: relax.VarBinding, builder: relax.BlockBuilder
) -> tuple[relax.VarBinding, list[relax.Var]]:
    """The branch with kills in its arms, and what to let go of after it.

    The VM copies an arm's result to the register of the branch; the arm's own register holds it on.
    """
    branch = binding.value
    then, from_then = _free(branch.true_branch, builder)
    other, from_other = _free(branch.false_branch, builder)
    freed = builder.normalize(relax.If(branch.cond, then, other, branch.span))
    return relax.VarBinding(binding.var, freed), [*from_then, *from_other]


def _holds_object(binding: relax.Binding) -> bool:
    """Whether the VM keeps a reference for the variable: no number, shape, constant or nothing."""
    ty, value = binding.var.ty, binding.value
    if isinstance(ty, relax.TupleType) and len(ty.fields) == 0:
        return False
    if ty is None or isinstance(ty, (PrimType, relax.ShapeType, relax.FuncType)):
        return False
    if isinstance(value, relax.Call) and getattr(value.op, "name", "") == _KILL:
        return False
    return isinstance(value, (relax.Call, relax.Tuple, relax.TupleGetItem, relax.Var, relax.If))


def _kill(var: relax.Var, builder: relax.BlockBuilder) -> relax.VarBinding:
    call = builder.normalize(relax.Call(tvm.ir.Op.get(_KILL), [var]))
    return relax.VarBinding(relax.Var("_", call.ty), call)
