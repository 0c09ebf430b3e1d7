"""Fold scales and shifts by constants into the weights of what they follow.

    add(multiply(conv2d(x, W), scale), shift)  ->  add(conv2d(x, W * scale), shift)
    multiply(add(conv2d(x, W), bias), scale)   ->  add(conv2d(x, W * scale), bias * scale)

BatchNorm in inference is such a pair. Each step re-emits the convolution with the weights so far;
the steps before it become dead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import tvm
from tvm import relax

from tvm_sod2.passes.fold_constants import constant_array
from tvm_sod2.passes.mutate import map_functions


@dataclass(frozen=True)
class _Affine:
    """call + shift, `call` being linear in its constant weight."""

    call: relax.Call
    rank: int  # of the result
    channel_axis: int  # of the result
    weight_axis: int  # the same channels in the weight
    shift: np.ndarray | None = None  # of the result's rank, one entry per channel

    @property
    def weight(self) -> np.ndarray:
        weight = constant_array(self.call.args[1])
        assert weight is not None
        return weight

    def along(self, per_channel: np.ndarray) -> np.ndarray:
        """One number per channel, shaped to broadcast against the result."""
        shape = [1] * self.rank
        shape[self.channel_axis] = -1
        return per_channel.reshape(shape)


# Linear operators: which axis of the result and of the weight holds the output channels.
_LINEAR: dict[str, Callable[[relax.Call], tuple[int, int] | None]] = {
    "relax.nn.conv1d": lambda call: (1, 0),
    "relax.nn.conv2d": lambda call: (1, 0) if call.attrs.data_layout == "NCHW" else None,
    "relax.nn.conv3d": lambda call: (1, 0),
    "relax.nn.conv2d_transpose": lambda call: (1, 1) if int(call.attrs.groups) == 1 else None,
    "relax.matmul": lambda call: (call.ty.ndim - 1, 1) if call.args[1].ty.ndim == 2 else None,
}


@tvm.transform.module_pass(opt_level=0, name="FoldAffine")
def fold_affine(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Fold constant scales and shifts behind linear operators with constant weights."""
    mod = map_functions(mod, lambda func: _Folder(func).visit_expr(func))
    return relax.transform.DeadCodeElimination()(mod)


@relax.expr_functor.mutator
class _Folder(relax.PyExprMutator):
    def __init__(self, func: relax.Function) -> None:
        super().__init__()
        self.uses = _use_counts(func)
        self.known: dict[tvm.ir.Var, _Affine] = {}

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        value = binding.value
        affine = self._affine(value) if isinstance(value, relax.Call) else None
        if affine is None:
            super().visit_var_binding_(binding)
            return
        self.known[binding.var] = affine
        if affine.shift is None:
            super().visit_var_binding_(relax.VarBinding(binding.var, affine.call))
            return
        linear = self.builder_.emit(self.visit_expr(affine.call))
        shift = relax.const(affine.shift, str(affine.shift.dtype))
        super().visit_var_binding_(relax.VarBinding(binding.var, relax.op.add(linear, shift)))

    def _affine(self, call: relax.Call) -> _Affine | None:
        if not isinstance(call.op, tvm.ir.Op):
            return None
        axes = _LINEAR.get(call.op.name)
        if axes is not None:
            found = axes(call)
            if found is None or constant_array(call.args[1]) is None:
                return None
            return _Affine(call, call.ty.ndim, *found)
        step = _STEPS.get(call.op.name)
        if step is None:
            return None
        for base, other in (call.args, reversed(call.args)):
            affine = self.known.get(base) if isinstance(base, tvm.ir.Var) else None
            data = constant_array(other)
            if affine is None or data is None or self.uses[base] != 1:
                continue
            per_channel = _per_channel(data, affine)
            if per_channel is not None:
                return step(affine, per_channel)
        return None


def _scaled(affine: _Affine, scale: np.ndarray) -> _Affine:
    weight = affine.weight
    shape = [1] * weight.ndim
    shape[affine.weight_axis] = -1
    scaled = (weight * scale.reshape(shape)).astype(weight.dtype)
    args = [affine.call.args[0], relax.const(scaled, str(weight.dtype))]
    call = relax.Call(affine.call.op, args, affine.call.attrs, affine.call.ty_args)
    shift = None if affine.shift is None else affine.shift * affine.along(scale)
    return replace(affine, call=call, shift=shift)


def _shifted(affine: _Affine, shift: np.ndarray) -> _Affine:
    shift = affine.along(shift)
    return replace(affine, shift=shift if affine.shift is None else affine.shift + shift)


_STEPS: dict[str, Callable[[_Affine, np.ndarray], _Affine]] = {
    "relax.multiply": _scaled,
    "relax.add": _shifted,
}


def _per_channel(data: np.ndarray, affine: _Affine) -> np.ndarray | None:
    """The constant as one number per output channel, or None where it varies otherwise."""
    channels = affine.weight.shape[affine.weight_axis]
    if data.size == 1:
        return np.full(channels, data.reshape(()), dtype=data.dtype)
    if data.size != channels or data.ndim > affine.rank:
        return None
    aligned = (1,) * (affine.rank - data.ndim) + data.shape
    return data.reshape(channels) if aligned[affine.channel_axis] == channels else None


def _use_counts(func: relax.Function) -> dict[tvm.ir.Var, int]:
    counts: dict[tvm.ir.Var, int] = {}

    def visit(expr: tvm.ir.Expr) -> None:
        if isinstance(expr, relax.SeqExpr):
            for var in [
                v for b in expr.blocks for x in b.bindings for v in _operands(x.value)
            ] + _operands(expr.body):
                counts[var] = counts.get(var, 0) + 1

    relax.analysis.post_order_visit(func, visit)
    return counts


def _operands(value: tvm.ir.Expr) -> list[tvm.ir.Var]:
    """Variables an expression reads, one entry for each time."""
    if isinstance(value, tvm.ir.Var):
        return [value]
    if isinstance(value, relax.Call):
        return [var for argument in value.args for var in _operands(argument)]
    if isinstance(value, relax.Tuple):
        return [var for field in value.fields for var in _operands(field)]
    return list(relax.analysis.free_vars(value))
