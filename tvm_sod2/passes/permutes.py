"""The order in which a permute_dims puts the axes of its operand."""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax import Expr

__all__ = ["order_of", "permutation"]


def permutation(call: relax.Call) -> list[int]:
    """The axes of a permute_dims, none of them negative."""
    rank = call.args[0].ty.ndim
    axes = call.attrs.axes
    return list(reversed(range(rank))) if axes is None else [int(axis) % rank for axis in axes]


def order_of(value: Expr | None) -> list[int] | None:
    """The axes of a permute_dims, or None for anything else."""
    if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op):
        return None
    return permutation(value) if value.op.name == "relax.permute_dims" else None
