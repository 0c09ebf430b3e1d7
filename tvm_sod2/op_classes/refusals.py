"""Calls whose shape Relax infers wrongly: refused, so that no wrong number comes out of them.

Found by comparing its inference with NumPy, see tests/op_classes/test_inference.py.
"""

from __future__ import annotations

import tvm
from tvm import relax, tirx

from tvm_sod2.op_classes.fact import Fact
from tvm_sod2.op_classes.row import Row
from tvm_sod2.op_classes.symbolic import Arithmetic
from tvm_sod2.op_classes.values.common import number


def refusal(rule: Row, call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> str | None:
    """Why this call, typed by Relax, is not to be compiled, or None."""
    found = None if rule.refuse is None else rule.refuse(call, facts, arithmetic)
    return found or _negative_dim(call.ty)


def _negative_dim(ty: tvm.ir.Type) -> str | None:
    """A begin behind the end, or fewer elements than sections: Relax counts below zero."""
    if isinstance(ty, relax.TupleType):
        return next((why for why in map(_negative_dim, ty.fields) if why), None)
    dims = Fact(ty).dims if isinstance(ty, relax.TensorType) else None
    for axis, dim in enumerate(dims or ()):
        if isinstance(dim, tirx.IntImm) and int(dim) < 0:
            return f"dim {axis} of the result would be {int(dim)}; its bounds or sizes do not fit"
    return None


def falling_range(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> str | None:
    """arange: Relax rounds the length toward the wrong side where the step is negative."""
    step = number(call.args[2], facts[2])
    if step is None or arithmetic.not_negative(step):
        return None
    return "a range with a step that may be negative gets a wrong length; flip a rising range"


def swapped_grid(call: tvm.ir.Call, _facts: list[Fact], _arithmetic: Arithmetic) -> str | None:
    """meshgrid: with "xy" NumPy swaps the first two axes, and Relax's type does not."""
    if call.attrs.indexing != "xy" or len(call.ty.fields) < 2:
        return None
    return 'indexing "xy" gets the shape of "ij"; use "ij" and permute_dims'
