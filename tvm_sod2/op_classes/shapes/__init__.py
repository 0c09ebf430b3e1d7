"""Forward transfer of dims where Relax's own inference gives up, and dims that must agree.

By family; `row.DimsTransfer` and `row.Agreements` are their forms.
"""

from __future__ import annotations

from tvm import relax

from tvm_sod2.op_classes.expressions import Entry, as_expr


def tensor_type(dims: list[Entry], like: relax.TensorType) -> relax.TensorType:
    """A tensor type with these dims and the dtype of `like`."""
    return relax.TensorType([as_expr(d) for d in dims], like.dtype)
