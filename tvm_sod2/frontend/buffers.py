"""Tensors with memory of their own, whatever passes find out about what they are made of."""

from __future__ import annotations

from tvm import relax
from tvm.relax import Expr

from tvm_sod2.frontend.context import Context
from tvm_sod2.schedules.copies import copy_kernel, empty_kernel


def copied(c: Context, value: Expr) -> Expr:
    """A tensor of its own, whatever passes find out about `value`."""
    gvar = c.bb.add_func(copy_kernel(c.rank(value), c.dtype(value)), "copy")
    return c.emit(relax.call_tir(gvar, relax.Tuple([value]), value.ty))


def unwritten(c: Context, ty: relax.TensorType) -> Expr:
    """A tensor of its own that holds nothing yet."""
    gvar = c.bb.add_func(empty_kernel(len(ty.shape.values), str(ty.dtype)), "unwritten")
    return c.emit(relax.call_tir(gvar, relax.Tuple([]), ty))
