"""Broadcasting of which only the dims can tell what it does: it is decided while running.

    lv: Tensor(ndim=1) = add(x: (n,), y: (m,))
    z = match_cast(lv, ((m if n == 1 else n),))
->  d = m if n == 1 else n
    z = add(broadcast_to(x, (d,)), broadcast_to(y, (d,)))

Runs after RDP, which proves most of them and has what is needed of the inputs' dims checked at
entry. What hangs on other dims, or on the arm of an If that is taken, is checked here, see
`requirements`.

The `broadcast_to` reads index 0 where a dim is 1, see `schedules.legalize`. TVM's own legalisation
leaves such operators as they are, and code generation then fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.relax import Expr

from tvm_sod2.memory.text import to_python
from tvm_sod2.op_classes import Mapping, row
from tvm_sod2.op_classes.expressions import as_expr, symbols_of
from tvm_sod2.op_classes.fact import entries
from tvm_sod2.op_classes.shapes import tensor_type
from tvm_sod2.op_classes.shapes.broadcast import broadcast_dims, parts_of
from tvm_sod2.passes.entry import EntryMutator
from tvm_sod2.passes.inline_leaves import inline_leaves
from tvm_sod2.passes.mutate import map_functions
from tvm_sod2.passes.requirements import require


@tvm.transform.module_pass(opt_level=0, name="DecideBroadcasts")
def decide_broadcasts(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Stretch the operands of elementwise operators and products that Relax gave no shape."""
    return inline_leaves(map_functions(mod, lambda func: _Rewriter(func).visit_expr(func)))


@relax.expr_functor.mutator
class _Rewriter(EntryMutator):
    def __init__(self, func: relax.Function) -> None:
        super().__init__(func)
        self.defined = set(self.entry)
        self.results = _results(func)

    def visit_match_cast_(self, binding: relax.MatchCast) -> None:
        self.defined |= set(relax.analysis.definable_tir_vars_in_type(binding.ty))
        value = self.visit_expr(binding.value)
        if tvm_ffi.structural_equal(value.ty, binding.ty):
            self._bind(binding.var, value)  # The cast gave dims to what has them now.
        else:
            super().visit_match_cast_(binding)

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        call = binding.value
        if isinstance(call, relax.Call) and _stretches(call):
            self._settle(binding, 0, list(call.args[0].ty.shape), list(call.args[1].ty.values))
        if not isinstance(call, relax.Call) or not _lost(call):
            super().visit_var_binding_(binding)
            return
        tail = _TAILS.get(call.op.name, 0)
        shapes = [list(arg.ty.shape) for arg in call.args]
        if any(len(shape) < tail for shape in shapes):
            super().visit_var_binding_(binding)
            return
        batches = [shape[: len(shape) - tail] for shape in shapes]
        dims = self._dims(binding, batches)
        args = [
            self._stretched(self.visit_expr(arg), batch, dims)
            for arg, batch in zip(call.args, batches, strict=True)
        ]
        self._bind(binding.var, relax.Call(call.op, args, call.attrs, call.ty_args))

    def _bind(self, var: tvm.ir.Var, value: Expr) -> None:
        """Bind the value to a variable of its own type."""
        value = self.builder_.normalize(value)
        new = type(var)(var.name, value.ty)
        self.builder_.emit_normalized(relax.VarBinding(new, value))
        self.set_var_remap(var, new)

    def _dims(self, binding: relax.VarBinding, shapes: Sequence[Sequence[Any]]) -> list[Any]:
        """The dims that the shapes broadcast to, by RDP's names where it has some, and checked
        where RDP could not."""
        rank = max(map(len, shapes))
        columns = [list(entries([*shape])) for shape in shapes]
        common = list(map(as_expr, broadcast_dims(columns, self.arithmetic)))
        named = self.results.get(binding.var, [])[:rank]
        if named and all(s in self.defined for dim in named for s in symbols_of(dim)):
            common = named
        for index, shape in enumerate(shapes):
            self._settle(binding, index, shape, common)
        return common

    def _settle(
        self, binding: relax.VarBinding, index: int, own: Sequence[Any], common: Sequence[Any]
    ) -> None:
        """Check what RDP could not have checked at entry: each dim of an operand is 1 or common."""
        for axis, (a, b) in enumerate(zip(own, common[len(common) - len(own) :], strict=True)):
            if not self.arms and all(s in self.entry for s in symbols_of(a) + symbols_of(b)):
                continue
            if self.arithmetic.equal(a, parts_of(b)[0]):
                continue  # What the common dim is unless it is 1.
            zero = as_expr(self.arithmetic.simplify((a - 1) * (a - b)))
            if not isinstance(zero, tirx.IntImm) or int(zero) != 0:
                where = f"dim {axis} of {self.names.argument(binding.value, index)}"
                found = f"{where} is {to_python(a)}, expected {to_python(b)} or 1"
                require(self.builder_, zero, f"{self.names.node(binding.var)}: {found}")

    def _stretched(self, arg: Expr, own: Sequence[Any], common: Sequence[Any]) -> Expr:
        """The operand with the leading dims `own` stretched to the last ones of `common`."""
        behind = common[len(common) - len(own) :]
        # By their form: where Relax lost the dims it saw no proof that they are equal.
        settled = (
            self.arithmetic.equal(a, 1) or tvm_ffi.structural_equal(as_expr(a), as_expr(b))
            for a, b in zip(entries([*own]), entries([*behind]), strict=True)
        )
        if all(settled):
            return arg
        tail = list(arg.ty.shape)[len(own) :]
        ones = [self._one_at_most(a, b) for a, b in zip(own, behind, strict=True)]
        if any(ones):
            # Relax refuses to stretch what it does not see to be 1.
            dims = [tirx.const(1, "int64") if one else a for one, a in zip(ones, own, strict=True)]
            arg = self.builder_.match_cast(arg, tensor_type([*dims, *tail], arg.ty))
        return self.builder_.emit(relax.op.broadcast_to(arg, relax.ShapeExpr([*behind, *tail])))

    def _one_at_most(self, dim: Any, common: Any) -> bool:
        """Whether a dim can broadcast only by being 1, which nothing says that it is."""
        return not self.arithmetic.equal(dim, 1) and self.arithmetic.differ(dim, common)


_TAILS = {"relax.matmul": 2}
"""Dims at the end that do not broadcast."""


def _stretches(call: relax.Call) -> bool:
    """Whether a call stretches a tensor of known dims."""
    if not isinstance(call.op, tvm.ir.Op) or call.op.name != "relax.broadcast_to":
        return False
    return call.args[0].ty.shape is not None and call.args[1].ty.values is not None


def _lost(call: relax.Call) -> bool:
    """Whether an operator that broadcasts tensors of known dims has a result of unknown ones."""
    if not isinstance(call.op, tvm.ir.Op) or len(call.args) < 2:
        return False
    if not isinstance(call.ty, relax.TensorType) or call.ty.shape is not None:
        return False
    if call.op.name not in _TAILS and row(call.op.name).mapping is not Mapping.ONE_TO_ONE:
        return False
    return all(
        isinstance(arg.ty, relax.TensorType) and isinstance(arg.ty.shape, relax.ShapeExpr)
        for arg in call.args
    )


def _results(func: relax.Function) -> dict[tvm.ir.Var, list[Any]]:
    """For a variable that a match_cast gives dims, these."""
    found: dict[tvm.ir.Var, list[Any]] = {}

    def visit(expr: Expr) -> None:
        if not isinstance(expr, relax.SeqExpr):
            return
        for block in expr.blocks:
            for binding in block.bindings:
                known = isinstance(binding, relax.MatchCast) and binding.ty
                if isinstance(known, relax.TensorType) and known.shape is not None:
                    found[binding.value] = list(known.shape.values)

    relax.analysis.post_order_visit(func, visit)
    return found
