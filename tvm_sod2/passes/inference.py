"""Relax's own inference of a call's type, on what is known of its arguments."""

from __future__ import annotations

import tvm
from tvm import relax

from tvm_sod2.errors import ShapeError
from tvm_sod2.passes.facts import FunctionFacts
from tvm_sod2.passes.names import Names

__all__ = ["Inference"]


class Inference:
    """Types of calls whose arguments are stand-ins: variables of the types found for them."""

    def __init__(self, known: FunctionFacts, names: Names) -> None:
        self._known = known
        self._names = names
        self._builder = relax.BlockBuilder()
        self._stand_ins: dict[tvm.ir.Var, tvm.ir.Var] = {}

    def typed(self, var: tvm.ir.Var, call: relax.Call) -> relax.Call:
        """The call on stand-ins, with its type.

        Raises ShapeError, naming the node of `var`, where dims contradict each other.
        """
        args = [self._operand(argument) for argument in call.args]
        stated = [self._known.substitute(ty) for ty in call.ty_args]
        try:
            return self._builder.normalize(relax.Call(call.op, args, call.attrs, stated))
        except (tvm.error.InternalError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ShapeError(f"{self._names.node(var)}: {reason}") from error

    def _operand(self, expr: tvm.ir.Expr) -> tvm.ir.Expr:
        if isinstance(expr, relax.ShapeExpr) or isinstance(expr.ty, tvm.ir.PrimType):
            return self._known.substitute(expr)
        if isinstance(expr, tvm.ir.Var) and expr in self._known.facts:
            return self._stand_in(expr)
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._operand(field) for field in expr.fields])
        return expr

    def _stand_in(self, var: tvm.ir.Var) -> tvm.ir.Var:
        if var not in self._stand_ins:
            self._stand_ins[var] = relax.Var(var.name, self._known.facts[var].ty)
        return self._stand_ins[var]
