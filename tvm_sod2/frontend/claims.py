"""Conditions that say of one dim of a value what it is, read off the operators that compute them.

Exporters write ``x.squeeze(-1)`` as an If on ``Shape(x)[-1] == 1``, whose arms differ in rank.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import relax
from tvm.relax import Expr

from tvm_sod2.frontend.constants import array_of
from tvm_sod2.frontend.context import Context, Dim


@dataclass(frozen=True)
class DimClaim:
    """``value``'s dim ``axis`` is ``size``."""

    value: Expr
    axis: int
    dim: Dim
    size: int

    @property
    def decided(self) -> bool | None:
        """Whether it is so, None where only the run can tell."""
        return self.dim == self.size if isinstance(self.dim, int) else None


def dim_claim(c: Context, condition: Expr) -> DimClaim | None:
    """The claim that a condition makes, None where it makes no such claim."""
    call = _made_by(c, condition)
    if call is None or call.op.name != "relax.equal":
        return None
    for entry, size in (call.args, reversed(call.args)):
        number = array_of(size)
        if number is None or number.size != 1:
            continue
        gather = _made_by(c, entry)
        if gather is None or gather.op.name != "relax.take":
            return None
        index, vector = array_of(gather.args[1]), _made_by(c, gather.args[0])
        if index is None or index.size != 1 or vector is None:
            return None
        if vector.op.name != "relax.shape_to_tensor":
            return None
        shape = _made_by(c, vector.args[0])
        if shape is None or shape.op.name != "relax.shape_of":
            return None
        dims = c.dims(shape.args[0])
        axis = c.axis(int(index.item()), len(dims))
        return DimClaim(shape.args[0], axis, dims[axis], int(number.item()))
    return None


_SAME_ENTRIES = frozenset(
    {"relax.reshape", "relax.astype", "relax.squeeze", "relax.expand_dims", "relax.memory.view"}
)


def _made_by(c: Context, value: Expr) -> relax.Call | None:
    """The operator that made a value, behind those that only give its entries another form."""
    while True:
        if isinstance(value, relax.Var):
            value = c.bb.lookup_binding(value)
        elif isinstance(value, relax.Call) and value.op.name in _SAME_ENTRIES:
            value = value.args[0]
        else:
            return value if isinstance(value, relax.Call) else None
