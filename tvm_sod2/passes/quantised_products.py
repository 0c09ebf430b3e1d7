"""Products of dequantised operands are products of integers, scaled once.

    a = multiply(astype(i, float32), s); b = multiply(astype(j, float32), t); y = matmul(a, b)
        ->  y = multiply(astype(matmul(i, j), float32), multiply(s, t))

where i and j widen bytes to int32, less a zero point, s is one number and t one for each column.
The form is what quantisation tools write (DequantizeLinear before an operator on floats); the sum
of integers is exact where that of floats is rounded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tvm
from tvm import relax, tirx
from tvm.ir import Expr

from tvm_sod2.passes.fold_constants import constant_array
from tvm_sod2.passes.inline_leaves import inline_leaves
from tvm_sod2.passes.integer_operands import CHANNEL_AXIS, along_channels, is_widening
from tvm_sod2.passes.mutate import map_functions

_ASTYPE, _MULTIPLY, _PERMUTE, _SUBTRACT = (
    tvm.ir.Op.get(f"relax.{name}") for name in ("astype", "multiply", "permute_dims", "subtract")
)

LONGEST = (2**31 - 1) // 255**2
"""Products of nine-bit numbers that 32 bits hold the sum of."""


class _Scaled(NamedTuple):
    """`integer * scale`: int32 of nine bits, and a float32 tensor that broadcasts to it."""

    integer: Expr
    scale: Expr


@tvm.transform.module_pass(opt_level=0, name="QuantisedProducts")
def quantised_products(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Apply the rule above to products with constant weights; what becomes unused is removed."""
    return inline_leaves(map_functions(mod, lambda func: _Rewriter().visit_expr(func)))


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> Expr:
        call = super().visit_call_(call)
        if getattr(call.op, "name", "") not in CHANNEL_AXIS or str(call.ty.dtype) != "float32":
            return call
        if call.attrs.out_dtype:
            return call
        data, weight = (self._scaled(argument) for argument in call.args)
        if data is None or weight is None or data.scale.ty.ndim != 0:
            return call
        scale = _per_channel(call, weight.scale)
        if scale is None or constant_array(weight.integer) is None or _steps(call) > LONGEST:
            return call
        emit = self.builder_.emit
        total = emit(relax.Call(call.op, [data.integer, weight.integer], call.attrs))
        factor = emit(relax.op.multiply(data.scale, scale))
        return relax.op.multiply(emit(relax.op.astype(total, "float32")), factor)

    def _scaled(self, expr: Expr) -> _Scaled | None:
        value = self._value(expr)
        if not isinstance(value, relax.Call):
            return None
        if value.op == _PERMUTE:
            inner = self._scaled(value.args[0])
            return None if inner is None else _permuted(inner, value.attrs.axes)
        if value.op != _MULTIPLY:
            return None
        integer, scale = self._integer(value.args[0]), value.args[1]
        if integer is None or integer.ty.ndim != value.ty.ndim:
            return None
        return _Scaled(integer, scale)

    def _integer(self, expr: Expr) -> Expr | None:
        """The int32 of nine bits whose value, in int32 or float32, `expr` is."""
        array = constant_array(expr)
        value = self._value(expr)
        if isinstance(value, relax.Call) and value.op == _SUBTRACT:
            left, right = (constant_array(argument) for argument in value.args)
            if left is not None and right is not None and left.dtype == np.int32:
                array = left - right
        if array is not None:
            fits = array.size and (np.abs(array) <= 255).all() and (array == np.rint(array)).all()
            return relax.const(array.astype(np.int32), "int32") if fits else None
        if not isinstance(value, relax.Call):
            return None
        if value.op == _ASTYPE and str(value.ty.dtype) == "float32":
            return self._integer(value.args[0])
        if not is_widening(value):
            return None
        if value.op == _SUBTRACT and self._integer(value.args[0]) is None:
            return None
        return expr

    def _value(self, expr: Expr) -> Expr | None:
        return self.lookup_binding(expr) if isinstance(expr, tvm.ir.Var) else None


def _permuted(scaled: _Scaled, axes: list[int] | None) -> _Scaled | None:
    """Both parts with their axes permuted; of the integers only a constant."""
    integer, scale = (constant_array(part) for part in scaled)
    if integer is None or scale is None or scale.ndim not in (0, integer.ndim):
        return None
    order = None if axes is None else [int(axis) for axis in axes]
    moved = scale if scale.ndim == 0 else scale.transpose(order)
    return _Scaled(_const(integer.transpose(order)), _const(moved))


def _const(array: np.ndarray) -> Expr:
    return relax.const(np.ascontiguousarray(array).reshape(array.shape), str(array.dtype))


def _per_channel(call: relax.Call, scale: Expr) -> Expr | None:
    """The weights' scale as it multiplies the result; None where it varies along the reduction."""
    dims = list(scale.ty.shape.values)
    if not dims:
        return scale
    axis = CHANNEL_AXIS[call.op.name](call)
    if len(dims) != call.args[1].ty.ndim or not all(isinstance(d, tirx.IntImm) for d in dims):
        return None
    if any(int(d) != 1 for i, d in enumerate(dims) if i != axis):
        return None
    return relax.op.reshape(scale, along_channels(call, int(dims[axis])))


def _steps(call: relax.Call) -> int:
    """How many products each element of the result sums up."""
    dims = [int(d) for d in call.args[1].ty.shape.values]
    axis = CHANNEL_AXIS[call.op.name](call)
    reduced = dims[-2:-1] if call.op.name == "relax.matmul" else dims[:axis] + dims[axis + 1 :]
    return int(np.prod(reduced))
