"""Tensors of dims that the run decides are seen to be possible before they are made.

    y = broadcast_to(x, (a, b))  ->  _ = require(select(a >= 0 and b >= 0 and ..., 0, 1), "...")
                                     y = broadcast_to(x, (a, b))

where a and b are numbers that a tensor held. A negative one, or a product beyond what 64 bits
count, would give a buffer of another size than its kernel writes.
"""

from __future__ import annotations

from functools import reduce

import tvm
from tvm import relax, tirx
from tvm.ir import Expr

from tvm_sod2.memory.text import to_python
from tvm_sod2.op_classes import fact_of_type
from tvm_sod2.op_classes.expressions import symbols_of
from tvm_sod2.passes.entry import EntryMutator
from tvm_sod2.passes.mutate import map_functions
from tvm_sod2.passes.requirements import require

MOST_ENTRIES = 1 << 56
"""Of a tensor: with 64 bytes an entry their count of bytes is still a number of 64 bits."""


@tvm.transform.module_pass(opt_level=0, name="CheckSizes")
def check_sizes(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Emit what an operator needs of the numbers that it makes dims of; see `requirements`."""
    return map_functions(mod, lambda func: _Writer(func).visit_expr(func))


@relax.expr_functor.mutator
class _Writer(EntryMutator):
    def __init__(self, func: relax.Function) -> None:
        super().__init__(func)
        self.numbers: set[tvm.ir.Var] = set()

    def visit_match_cast_(self, binding: relax.MatchCast) -> None:
        if isinstance(binding.ty, relax.ShapeType):
            self.numbers |= set(relax.analysis.definable_tir_vars_in_type(binding.ty))
        super().visit_match_cast_(binding)

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        call = binding.value
        if self.numbers and isinstance(call, relax.Call):
            self._check(binding.var, call)
        super().visit_var_binding_(binding)

    def _check(self, var: tvm.ir.Var, call: relax.Call) -> None:
        """The dims of a result with numbers in them that are in none of the operands' dims."""
        known = {
            s for argument in _tensors(call) for d in _dims(argument.ty) for s in symbols_of(d)
        }
        results = call.ty.fields if isinstance(call.ty, relax.TupleType) else [call.ty]
        for dims in map(_dims, results):
            new = {symbol for dim in dims for symbol in symbols_of(dim)} & self.numbers - known
            if not new:
                continue
            shape = ", ".join(map(to_python, dims))
            text = f"its result has shape [{shape}], expected dims of 0 or more and fewer entries"
            zero = tirx.Select(_possible(dims), _int64(0), _int64(1))
            require(self.builder_, zero, f"{self.names.node(var)}: {text}")


def _tensors(call: relax.Call) -> list[Expr]:
    fields = [
        field
        for argument in call.args
        for field in (argument.fields if isinstance(argument, relax.Tuple) else [argument])
    ]
    return [field for field in fields if isinstance(field.ty, relax.TensorType)]


def _dims(ty: tvm.ir.Type) -> list[Expr]:
    return list(fact_of_type(ty).dims or []) if isinstance(ty, relax.TensorType) else []


def _possible(dims: list[Expr]) -> Expr:
    """Whether no dim is negative, and the product is small enough; no step of this overflows."""
    conditions = [tirx.GE(dim, _int64(0)) for dim in dims]
    count: Expr = _int64(1)
    for dim in dims:
        most = tirx.FloorDiv(_int64(MOST_ENTRIES), tirx.Max(count, _int64(1)))
        conditions.append(tirx.LE(dim, most))
        count = tirx.Min(
            tirx.Max(count, _int64(1)) * tirx.Min(tirx.Max(dim, _int64(1)), most),
            _int64(MOST_ENTRIES),
        )
    return reduce(tirx.And, conditions)


def _int64(value: int) -> Expr:
    return tirx.IntImm("int64", value)
