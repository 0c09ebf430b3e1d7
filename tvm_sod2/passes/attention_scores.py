"""The scores of attention, from the product of probabilities and values back to q @ k^T."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.relax import Expr

from tvm_sod2.op_classes.expressions import name_of
from tvm_sod2.passes.attention_operands import broadcasts
from tvm_sod2.passes.attention_steps import STEPS
from tvm_sod2.passes.diagonal import HIDING
from tvm_sod2.passes.operand_views import scalar
from tvm_sod2.schedules.attention_spec import Blank
from tvm_sod2.schedules.kernel import f32

_ONE = tirx.IntImm("int64", 1)


class Uses:
    """What each variable of a function is bound to, and who uses it; None is the function."""

    def __init__(self, func: relax.Function) -> None:
        self.defined: dict[tvm.ir.Var, Expr] = {}
        self.users: dict[tvm.ir.Var, list[tvm.ir.Var | None]] = {}
        for block in func.body.blocks:
            for binding in block.bindings:
                self.defined[binding.var] = binding.value
                self._note(binding.value, binding.var)
        self._note(func.body.body, None)

    def _note(self, value: Expr, user: tvm.ir.Var | None) -> None:
        def visit(expr: Any) -> None:
            if isinstance(expr, tvm.ir.Var):
                self.users.setdefault(expr, []).append(user)
            elif isinstance(expr, relax.Call):
                # Each argument counts: the visitor meets a variable that is used twice once.
                for argument in expr.args:
                    if sum(argument.same_as(a) for a in expr.args) > 1:
                        self.users.setdefault(argument, []).append(user)

        relax.analysis.post_order_visit(value, visit)

    def only(self, value: Expr) -> Any:
        """What a variable that is used once is bound to, else None."""
        return self.defined.get(value) if len(self.users.get(value, [])) == 1 else None


@dataclass(frozen=True)
class Scores:
    """A product, and what is done to it: calls with the number of the argument that goes on;
    where the rows of the softmax's result are set to zero, by a tensor or by what they are."""

    product: relax.Call
    steps: tuple[tuple[relax.Call, int], ...] = ()
    emptied: Expr | None = None
    blank: Blank | None = None


@dataclass(frozen=True)
class _Zeroed:
    """where(condition, 0, value) with value at 2, where(condition, value, 0) with value at 1."""

    condition: Expr
    value: Expr
    position: int


def scores_of(product: relax.Call, uses: Uses) -> Scores | None:
    """What goes into the softmax whose result `product` multiplies with values."""
    weights, v = product.args
    softmax = uses.only(weights)
    zeroed = _zeroed(softmax)
    not_a_number = zeroed is not None and _is_nan(zeroed, uses)
    if zeroed is not None:
        softmax = uses.defined.get(zeroed.value) if not_a_number else uses.only(zeroed.value)
    if name_of(softmax) != "relax.nn.softmax" or not _float_matrices(product, weights, v):
        return None
    found = _chain(softmax.args[0], uses)
    if found is None or not _float_matrices(found.product, *found.product.args):
        return None
    q, k = found.product.args
    *batch, rows, width = product.ty.shape.values
    depth = q.ty.shape.values[-1]
    equal = tvm.sym.Analyzer().can_prove_equal
    fits = (
        int(softmax.attrs.axis) % weights.ty.ndim == weights.ty.ndim - 1
        and all(isinstance(dim, tirx.IntImm) and dim.value > 0 for dim in (depth, width))
        and equal(k.ty.shape.values[-2], depth)
        and weights.ty.ndim == product.ty.ndim
        and all(map(equal, weights.ty.shape.values, [*batch, rows, v.ty.shape.values[-2]]))
    )
    if not fits or zeroed is None:
        return found if fits else None
    if not_a_number:
        return replace(found, blank=lambda _, total: tirx.Not(total > f32(0.0)))
    if _hides_the_same(found, zeroed):
        return replace(found, blank=lambda largest, _: largest <= f32(HIDING))
    rowwise = broadcasts(zeroed.condition.ty, [*batch, rows, _ONE])
    return replace(found, emptied=zeroed.condition) if rowwise and zeroed.position == 2 else None


def _zeroed(call: Any) -> _Zeroed | None:
    if name_of(call) != "relax.where":
        return None
    for position in (2, 1):
        if scalar(call.args[3 - position]) == 0.0:
            return _Zeroed(call.args[0], call.args[position], position)
    return None


def _is_nan(zeroed: _Zeroed, uses: Uses) -> bool:
    """Whether zeroed is what is no number, of a softmax that nothing else uses."""
    test = uses.only(zeroed.condition)
    return (
        zeroed.position == 2
        and name_of(test) == "relax.isnan"
        and test.args[0].same_as(zeroed.value)
        and len(uses.users.get(zeroed.value, [])) == 2
    )


def _hides_the_same(found: Scores, zeroed: _Zeroed) -> bool:
    """Whether the last step hides those scores whose probabilities are zeroed."""
    if not found.steps:
        return False
    call, position = found.steps[-1]
    if name_of(call) != "relax.where" or position != zeroed.position:
        return False
    hidden = scalar(call.args[3 - position])
    return call.args[0].same_as(zeroed.condition) and hidden is not None and hidden <= HIDING


def _chain(value: Expr, uses: Uses) -> Scores | None:
    """The scores from their product on; all of them of one shape, used once."""
    call = uses.only(value)
    if name_of(call) == "relax.matmul":
        return Scores(call)
    if name_of(call) not in STEPS:
        return None
    for position, argument in enumerate(call.args):
        if not isinstance(argument, tvm.ir.Var) or not _same_shape(argument, call):
            continue
        found = _chain(argument, uses)
        if found is not None:
            return Scores(found.product, (*found.steps, (call, position)))
    return None


def _float_matrices(*values: Expr) -> bool:
    types = [value.ty for value in values]
    return all(
        isinstance(ty, relax.TensorType)
        and str(ty.dtype) == "float32"
        and ty.shape is not None
        and ty.ndim >= 2
        for ty in types
    )


def _same_shape(value: Expr, other: Expr) -> bool:
    ty = value.ty
    return (
        isinstance(ty, relax.TensorType)
        and ty.ndim == other.ty.ndim
        and other.ty.shape is not None
        and broadcasts(ty, list(other.ty.shape.values))
        and broadcasts(other.ty, list(ty.shape.values))
    )
