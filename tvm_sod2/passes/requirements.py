"""What must hold of dims in the middle of a function, with a message for when it does not.

    _ = match_cast(call_pure_packed("sod2.require", R.shape([e]), "..."), R.Shape([0]))
->  cls.main_requires(n, m)                                     # asserts that e is 0

The first form passes through the pipeline as what it is: nothing moves dims' users above it, and
nothing removes it. `CheckRequirements` writes the second, where purity no longer matters.
"""

from __future__ import annotations

import tvm
from tvm import relax, tirx

from tvm_sod2.passes.checks import asserts

PROMISE = "sod2.require"
"""The function that is called until then; it is nowhere defined."""

_ZERO = tirx.const(0, "int64")


def require(builder: relax.BlockBuilder, zero: tvm.ir.Expr, message: str) -> None:
    """Emit the requirement that an expression of dims is 0."""
    arguments = relax.ShapeExpr([zero]), tvm.ir.StringImm(message)
    ty = relax.ShapeType(ndim=1)
    shape = relax.op.call_pure_packed(PROMISE, *arguments, ty_args=ty)
    builder.match_cast(builder.emit(shape), relax.ShapeType([_ZERO]))


def is_requirement(call: tvm.ir.Expr | None) -> bool:
    """Whether a call is one of `require`'s and holds for some dims only."""
    if not isinstance(call, relax.Call) or len(call.args) < 3:
        return False
    function, zero = call.args[:2]
    if not isinstance(function, relax.ExternFunc) or str(function.global_symbol) != PROMISE:
        return False
    return not (isinstance(zero, relax.ShapeExpr) and isinstance(zero.values[0], tirx.IntImm))


@tvm.transform.module_pass(opt_level=0, name="CheckRequirements")
class CheckRequirements:
    """Compile every requirement; one that does not hold raises ValueError with its message."""

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        writer = _Writer(mod)
        for gvar, func in mod.functions_items():
            if isinstance(func, relax.Function):
                writer.name = f"{gvar.name_hint}_requires"
                writer.builder_.update_func(gvar, writer.visit_expr(func))
        return writer.builder_.get()


@relax.expr_functor.mutator
class _Writer(relax.PyExprMutator):
    def __init__(self, mod: tvm.IRModule) -> None:
        super().__init__(mod)
        self.name = ""
        self.shapes: dict[tvm.ir.Var, tvm.ir.Expr] = {}
        self.promised: set[tvm.ir.Var] = set()

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        call = binding.value
        if isinstance(call, relax.ShapeExpr):
            self.shapes[binding.var] = call
        function = call.op if isinstance(call, relax.Call) else None
        if not isinstance(function, relax.ExternFunc) or str(function.global_symbol) != PROMISE:
            super().visit_var_binding_(binding)
            return
        shape, message = call.args
        condition = tirx.EQ(self.shapes.get(shape, shape).values[0], _ZERO)
        used = list(tirx.analysis.undefined_vars(condition))
        check = asserts(used, [(condition, str(message.value))], "ValueError")
        kernel = self.builder_.add_func(check, self.name)
        self.builder_.emit(relax.Call(kernel, used), "_")
        self.promised.add(binding.var)

    def visit_match_cast_(self, binding: relax.MatchCast) -> None:
        if binding.value not in self.promised:
            super().visit_match_cast_(binding)
