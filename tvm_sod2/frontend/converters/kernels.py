"""What no Relax operator computes: tensor expressions and scheduled kernels, called directly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import relax, tirx
from tvm.relax import Expr, TensorType

from tvm_sod2.frontend.context import Context
from tvm_sod2.frontend.names import identifier


def emit_kernel(
    c: Context, kernel: tirx.PrimFunc, args: Sequence[Expr], out: Sequence[TensorType]
) -> list[Expr]:
    """Emit the call of a scheduled kernel and return its results."""
    gvar = c.bb.add_func(kernel, identifier(c.node.op_type.lower()))
    types = list(out)
    result = c.emit(relax.call_tir(gvar, list(args), types if len(types) > 1 else types[0]))
    if len(types) == 1:
        return [result]
    return [c.emit(relax.TupleGetItem(result, i)) for i in range(len(types))]


def emit_te(c: Context, compute: Callable[..., Any], *args: Any) -> Expr:
    """Emit a tensor expression of the arguments; schedule rules give it its loops.

    Dims that occur in shapes of the tensors have to be arguments too (lists of them may be): inside
    they have other names.
    """
    hint = identifier(c.node.op_type.lower())
    return c.emit(c.bb.call_te(compute, *args, primfunc_name_hint=hint))
