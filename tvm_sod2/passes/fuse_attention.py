"""Two products with a softmax between them become one kernel that never holds all scores.

    s = matmul(q, k)                    # (..., S, T)
    s = add(multiply(s, 0.125), mask)   # any of STEPS, in any order, also none
    p = softmax(s, axis=-1)       ->    y = call_tir(attention, (q, k, v, mask))
    y = matmul(p, v)

The operators relax.nn.attention and attention_bias become the same kernel.

Transposes, slices and scalings of the operands, and a transpose of the result, become part of how
the kernel reads and writes. Taken are float32 operands with constant head sizes whose scores and
probabilities nothing else uses, and masks that broadcast to the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.relax import Expr

from tvm_sod2.op_classes.expressions import name_of
from tvm_sod2.passes.attention_operands import Operands, broadcasts
from tvm_sod2.passes.attention_operator import OPERATORS, operator_kernel
from tvm_sod2.passes.attention_scores import Uses, scores_of
from tvm_sod2.passes.attention_steps import scaling, step_of
from tvm_sod2.passes.causal import empty_rows, hides, only_hides
from tvm_sod2.passes.mutate import rewrite_functions
from tvm_sod2.passes.operand_views import contiguous, places, scalar
from tvm_sod2.passes.permutes import order_of
from tvm_sod2.schedules.attention import attention_kernel
from tvm_sod2.schedules.attention_scratch import FEW
from tvm_sod2.schedules.attention_spec import Attention, Axis, Causal, View
from tvm_sod2.schedules.kernel import i64
from tvm_sod2.schedules.traits import Traits


def fuse_attention(traits: Traits) -> tvm.transform.Pass:
    """The pass for a target; functions have no control flow when it runs."""

    @tvm.transform.module_pass(opt_level=0, name="FuseAttention")
    def fuse(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        fused = rewrite_functions(mod, _Rewriter(mod, traits))
        return relax.transform.DeadCodeElimination()(fused)

    return fuse


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def __init__(self, mod: tvm.IRModule, traits: Traits) -> None:
        super().__init__(mod)
        self.traits = traits
        self.kernels: dict[tvm.ir.Var, tuple[tirx.PrimFunc, list[Expr]]] = {}

    def visit_function_(self, func: relax.Function) -> Expr:
        self.kernels |= _Matcher(func, self.traits).kernels()
        return super().visit_function_(func)

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        if binding.var not in self.kernels:
            super().visit_var_binding_(binding)
            return
        kernel, arguments = self.kernels[binding.var]
        gvar = self.builder_.add_func(kernel, "attention")
        given = relax.Tuple([self.visit_expr(argument) for argument in arguments])
        call = relax.call_tir(gvar, given, binding.var.ty)
        super().visit_var_binding_(relax.VarBinding(binding.var, call))


class _Matcher:
    """Finds attention in a function."""

    def __init__(self, func: relax.Function, traits: Traits) -> None:
        self.traits = traits
        self.uses = Uses(func)
        self.defined = self.uses.defined

    def kernels(self) -> dict[tvm.ir.Var, tuple[tirx.PrimFunc, list[Expr]]]:
        """For each variable that attention computes its kernel and the arguments."""
        found = {}
        for var, value in self.defined.items():
            if name_of(value) == "relax.matmul":
                target, order = self._target(var)
                kernel = self._kernel(value, target.ty, order)
            elif name_of(value) in OPERATORS:
                target, kernel = var, operator_kernel(value, self.defined, self.traits)
            else:
                continue
            if kernel is not None:
                found[target] = kernel
        return found

    def _target(self, product: tvm.ir.Var) -> tuple[tvm.ir.Var, list[int]]:
        """What is to be written: the product, or its transpose where nothing else uses it."""
        rank = product.ty.ndim
        users = self.uses.users.get(product, [])
        if len(users) == 1 and users[0] is not None:
            order = order_of(self.defined[users[0]])
            if order is not None and order[-1] == rank - 1:
                return users[0], order
        return product, list(range(rank))

    def _kernel(
        self, product: relax.Call, ty: relax.TensorType, order: Sequence[int]
    ) -> tuple[tirx.PrimFunc, list[Expr]] | None:
        """The kernel that writes `product` with its axes in `order`, or None."""
        found = scores_of(product, self.uses)
        if found is None:
            return None
        (q, k), v = found.product.args, product.args[1]
        *batch, rows, width = product.ty.shape.values
        scores = [*batch, rows, v.ty.shape.values[-2]]
        column, row = len(scores) - 1, len(scores) - 2
        operands = Operands(scores)
        steps, scale = list(found.steps), 1.0
        while steps and (factor := scaling(*steps[0])) is not None:
            scale *= factor
            steps.pop(0)
        of_q = [*places(q, self.defined, scaled=True)][-1]
        of_k = contiguous(places(k, self.defined, scaled=True), k.ty.ndim - 2)
        of_v = contiguous(places(v, self.defined), v.ty.ndim - 1)
        few = isinstance(rows, tirx.IntImm) and rows.value <= FEW
        if few and not of_k.axes[-1].runs_along(k.ty.ndim - 2):
            return None  # So do keys lie that a product of few rows reads best.
        views = [
            operands.view(place, value.ty, len(scores))
            for place, value in ((of_q, q), (of_k, k), (of_v, v))
        ]
        steps = [step for step in steps if not self._adds_nothing(*step)]
        causal = self._causal(steps, operands)
        if causal is not None:
            steps = [step for step in steps if not only_hides(step, causal[0], self.defined)]
        written = [step_of(operands, scores, *step) for step in steps]
        if None in written:
            return None
        emptied = self._emptied(found.emptied, operands, len(scores))
        result = View(operands.result(ty), tuple(map(Axis, order)))
        attention = Attention(
            tuple(operands.params),
            tuple(map(operands.dim, batch)),
            operands.dim(rows),
            operands.dim(scores[-1]),
            depth=int(q.ty.shape.values[-1]),
            width=int(width),
            q=views[0],
            k=views[1].swapped(row, column),
            v=views[2],
            result=result,
            scale=scale * of_q.factor * of_k.factor,
            steps=tuple(step for step in written if step is not None),
            emptied=emptied,
            causal=None if causal is None else causal[1],
            blank=found.blank,
        )
        if not operands.complete():
            return None
        return attention_kernel(attention, self.traits), operands.arguments

    def _causal(
        self, steps: Sequence[tuple[relax.Call, int]], operands: Operands
    ) -> tuple[Any, Causal] | None:
        """What comes too late for a row after all steps: in the graph's dims and the kernel's."""
        found = hides(steps, self.defined) if steps else None
        late = None if found is None else operands.named(found.late)
        if found is None or found.above is None or late is None:
            return None
        return found.late, Causal(late, found.above)

    def _emptied(
        self, condition: Expr | None, operands: Operands, rank: int
    ) -> Callable[[Sequence[Any]], Any] | None:
        """Whether a row's weights are set to zero, read or computed."""
        if condition is None:
            return None
        late = empty_rows(condition, self.defined)
        named = None if late is None else operands.named(late)
        if named is not None:
            return lambda index: index[-2] + named < i64(0)
        (place, *_) = places(condition, {})
        return operands.view(place, condition.ty, rank).at

    def _adds_nothing(self, call: relax.Call, position: int) -> bool:
        """Whether a step adds zeros, as an exporter's default mask is."""
        if name_of(call) != "relax.add":
            return False
        other = call.args[1 - position]
        made = self.defined.get(other)
        zeros = (
            isinstance(made, relax.Call)
            and name_of(made) == "relax.full"
            and scalar(made.args[1]) == 0.0
        )
        return (zeros or scalar(other) == 0.0) and broadcasts(other.ty, list(call.ty.shape.values))
