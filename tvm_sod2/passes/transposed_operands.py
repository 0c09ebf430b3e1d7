"""Which operands of products lie transposed, for their kernels to read them so."""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.ir import GenericConst
from tvm.relax import Expr


def is_run_time_product(value: Expr) -> bool:
    """Whether the call is a float32 product of stacks of matrices, neither of them constant."""
    if _name(value) != "relax.matmul":
        return False
    types = [operand.ty for operand in (*value.args, value)]
    if not all(ty.shape is not None and ty.ndim > 1 and str(ty.dtype) == "float32" for ty in types):
        return False
    return not any(isinstance(operand, GenericConst) for operand in value.args)


def is_matrix_transpose(value: Expr) -> bool:
    """Whether the call changes the order of the last two axes and nothing else."""
    if _name(value) != "relax.permute_dims":
        return False
    call: Any = value
    rank = call.ty.ndim
    order = call.attrs.axes or reversed(range(rank))
    wanted = [*range(rank - 2), rank - 1, rank - 2]
    return rank > 1 and [int(axis) % rank for axis in order] == wanted


def _name(value: Expr) -> str:
    return getattr(value.op, "name", "") if isinstance(value, relax.Call) else ""
