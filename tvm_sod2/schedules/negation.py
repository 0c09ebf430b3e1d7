"""Negation of conditions over floats that may be NaN, of which every comparison is false."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx


def logical_not(bb: relax.BlockBuilder, call: Any) -> Any:
    """relax.logical_not: a choice between false and true.

    TVM's own legalisation is `not`, whose simplifier makes b <= a of not (a < b) and a != b of
    not (a == b): both are false in LLVM where an operand is NaN.
    """
    if call.args[0].ty.shape is None:
        return call

    def negated(x: te.Tensor) -> te.Tensor:
        no, yes = tirx.const(False, "bool"), tirx.const(True, "bool")

        def element(*index: Any) -> Any:
            value = x(*index)
            return tirx.Select(value if str(x.dtype) == "bool" else value != 0, no, yes)

        return te.compute(x.shape, element, name="logical_not")

    return bb.call_te(negated, call.args[0], primfunc_name_hint="logical_not")
