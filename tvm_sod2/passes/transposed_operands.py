"""Which operands of products lie transposed, for their kernels to read them so."""

from __future__ import annotations

from tvm import relax
from tvm.ir import GenericConst
from tvm.relax import Expr

from tvm_sod2.passes.permutes import order_of


def is_run_time_product(value: Expr) -> bool:
    """Whether the call is a float32 product of stacks of matrices, neither of them constant."""
    if not isinstance(value, relax.Call) or getattr(value.op, "name", "") != "relax.matmul":
        return False
    types = [operand.ty for operand in (*value.args, value)]
    if not all(ty.shape is not None and ty.ndim > 1 and str(ty.dtype) == "float32" for ty in types):
        return False
    return not any(isinstance(operand, GenericConst) for operand in value.args)


def is_matrix_transpose(value: Expr) -> bool:
    """Whether the call changes the order of the last two axes and nothing else."""
    order = order_of(value)
    if order is None or len(order) < 2:
        return False
    rank = len(order)
    return order == [*range(rank - 2), rank - 1, rank - 2]
