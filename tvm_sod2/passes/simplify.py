"""Small algebra that lowers the work, operator by operator.

power(x, 2)      ->  multiply(x, x)
divide(x, const) ->  multiply(x, 1 / const), unless it is rounded to integers, where halves count,
                     or a single number: a scale, which costs nothing and ends in a rounding, too
x * 1, x + 0     ->  x
clip(x, a, b)    ->  minimum(maximum(x, a), b), which layouts can pass through
strided_slice(x) ->  x where every entry is taken, in order
tile(x of (n, m), (1, r))  ->  x as (n, 1, m), stretched to (n, r, m), as (n, r * m): no remainders
const of shape (1,) in an elementwise operator  ->  const of shape (), an immediate in kernels
const of shape (C, 1, 1) beside a rank-4 tensor ->  (1, C, 1, 1), which layouts can follow
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, tirx

from tvm_sod2.op_classes import Mapping, row
from tvm_sod2.passes.fold_constants import constant_array
from tvm_sod2.passes.inline_leaves import inline_leaves
from tvm_sod2.passes.mutate import map_functions

_Rule = Callable[[relax.Call], "tvm.ir.Expr | None"]


@tvm.transform.module_pass(opt_level=0, name="SimplifyAlgebra")
def simplify(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Apply the rules above to every operator of every Relax function, once."""
    mod = map_functions(mod, lambda func: _Simplifier(_exact_quotients(func)).visit_expr(func))
    return inline_leaves(mod)


def _exact_quotients(func: relax.Function) -> set[tvm.ir.Var]:
    """Quotients that are rounded, except those of sums of integers scaled back to floats.

    A quantised network rounds both; the second kind ONNX Runtime itself multiplies by one factor.
    """
    values: dict[tvm.ir.Var, tvm.ir.Expr] = {}
    found: set[tvm.ir.Var] = set()

    def from_integers(var: tvm.ir.Expr) -> bool:
        value = values.get(var)
        if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op):
            return False
        if value.op.name == "relax.astype":
            return str(value.args[0].ty.dtype) == "int32"
        elementwise = row(value.op.name).mapping is Mapping.ONE_TO_ONE
        return elementwise and any(map(from_integers, value.args))

    def visit(binding: relax.Binding) -> None:
        value = binding.value
        values[binding.var] = value
        if not isinstance(value, relax.Call) or getattr(value.op, "name", "") != "relax.round":
            return
        if not from_integers(value.args[0]):
            found.add(value.args[0])

    for block in func.body.blocks:
        for binding in block.bindings:
            visit(binding)
    return found


@relax.expr_functor.mutator
class _Simplifier(relax.PyExprMutator):
    def __init__(self, exact: set[tvm.ir.Var]) -> None:
        super().__init__()
        self.exact = exact
        self.rules = _RULES

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        self.rules = {} if binding.var in self.exact else _RULES
        super().visit_var_binding_(binding)

    def visit_call_(self, call: relax.Call) -> tvm.ir.Expr:
        call = super().visit_call_(call)
        if not isinstance(call.op, tvm.ir.Op) or not isinstance(call.ty, relax.TensorType):
            return call
        call = self.builder_.normalize(_with_plain_constants(call))
        rule = self.rules.get(call.op.name)
        result = rule(call) if rule is not None else None
        return call if result is None else result


def _with_plain_constants(call: relax.Call) -> relax.Call:
    """Constants of an elementwise operator as scalars, or with the result's rank."""
    if row(call.op.name).mapping is not Mapping.ONE_TO_ONE or len(call.args) < 2:
        return call
    args: list[tvm.ir.Expr] = []
    for position, argument in enumerate(call.args):
        data = constant_array(argument)
        # As they are by now: two constants must not each leave the rank to the other.
        others = [*args, *call.args[position + 1 :]]
        if data is not None:
            argument = _plain_constant(data, others, call.ty.ndim)
        args.append(argument)
    return relax.Call(call.op, args, call.attrs, call.ty_args)


def _plain_constant(data: np.ndarray, others: list[tvm.ir.Expr], rank: int) -> tvm.ir.Expr:
    full_rank = any(
        isinstance(other.ty, relax.TensorType) and other.ty.ndim == rank for other in others
    )
    if data.size == 1 and data.ndim <= rank and full_rank:
        return relax.const(data.reshape(()), str(data.dtype))
    if 1 < data.ndim < rank and full_rank:
        return relax.const(data.reshape((1,) * (rank - data.ndim) + data.shape), str(data.dtype))
    return relax.const(data, str(data.dtype))


def _scalar(expr: tvm.ir.Expr) -> float | None:
    data = constant_array(expr)
    return float(data.reshape(())) if data is not None and data.size == 1 else None


def _is_float(call: relax.Call) -> bool:
    return str(call.ty.dtype).startswith("float")


def _power(call: relax.Call) -> tvm.ir.Expr | None:
    base, exponent = call.args[0], _scalar(call.args[1])
    if not _is_float(call) or base.ty.dtype != call.ty.dtype:
        return None
    if exponent == 2.0:
        return relax.op.multiply(base, base)
    if exponent == 3.0:
        return relax.op.multiply(relax.op.multiply(base, base), base)
    if exponent == 0.5:
        return relax.op.sqrt(base)
    return base if exponent == 1.0 else None


def _divide(call: relax.Call) -> tvm.ir.Expr | None:
    """x / 0 is x * inf to the last case; a divisor too small to have an inverse stays one."""
    divisor = constant_array(call.args[1])
    if divisor is None or not _is_float(call) or call.ty.ndim == 0:
        return None
    with np.errstate(divide="ignore", over="ignore"):
        inverse = (1.0 / divisor.astype(np.float64)).astype(divisor.dtype)
    if not np.isfinite(inverse[divisor != 0]).all():
        return None
    return relax.op.multiply(call.args[0], relax.const(inverse, str(divisor.dtype)))


def _clip(call: relax.Call) -> tvm.ir.Expr | None:
    dtype = str(call.ty.dtype)
    if not _is_float(call):
        return None  # An integer's bounds may lie outside of its type.
    low, high = (relax.const(_number(bound), dtype) for bound in call.args[1:])
    return relax.op.minimum(relax.op.maximum(call.args[0], low), high)


def _number(bound: tvm.ir.Expr) -> float:
    return float(bound.value)


def _whole(call: relax.Call) -> tvm.ir.Expr | None:
    """A slice as long as its operand, step by step, is its operand."""
    steps = call.args[4] if len(call.args) > 4 else []
    same = tvm_ffi.structural_equal(call.ty, call.args[0].ty) and call.ty.shape is not None
    return call.args[0] if same and all(int(step) == 1 for step in steps) else None


def _tile(call: relax.Call) -> tvm.ir.Expr | None:
    x, repeats = call.args[0], [int(count) for count in call.attrs.repeats]
    if not isinstance(x.ty.shape, relax.ShapeExpr) or len(repeats) != x.ty.ndim or 0 in repeats:
        return None  # A reshape reads a 0 as a dim to copy.
    apart: list[tvm.ir.Expr] = []
    stretched: list[tvm.ir.Expr] = []
    for count, dim in zip(repeats, x.ty.shape.values, strict=True):
        apart += [dim] if count == 1 else [tirx.IntImm("int64", 1), dim]
        stretched += [dim] if count == 1 else [tirx.IntImm("int64", count), dim]
    if len(apart) == len(repeats):
        return x
    parts = relax.op.reshape(x, relax.ShapeExpr(apart))
    stretched_parts = relax.op.broadcast_to(parts, relax.ShapeExpr(stretched))
    return relax.op.reshape(stretched_parts, call.ty.shape)


def _neutral(value: float, sides: tuple[int, ...]) -> _Rule:
    """The operand that is left when the other one, on one of `sides`, is the neutral element."""

    def rule(call: relax.Call) -> tvm.ir.Expr | None:
        for side in sides:
            kept = call.args[1 - side]
            if _scalar(call.args[side]) == value and kept.ty.ndim == call.ty.ndim:
                return kept if constant_array(kept) is None else None
        return None

    return rule


_RULES: dict[str, _Rule] = {
    "relax.clip": _clip,
    "relax.power": _power,
    "relax.divide": _divide,
    "relax.multiply": _neutral(1.0, (0, 1)),
    "relax.add": _neutral(0.0, (0, 1)),
    "relax.subtract": _neutral(0.0, (1,)),
    "relax.strided_slice": _whole,
    "relax.tile": _tile,
}
