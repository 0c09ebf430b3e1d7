"""Comparisons and bounds of floats that may be NaN, of which every comparison is false."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx
from tvm.ir import TensorLoad


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


def _bound_first(bounded: Any) -> Any:
    """max(x, 0.0) -> max(0.0, x), which is x where that is NaN: TVM takes b of max(a, b) unless
    a > b."""
    x, bound = bounded.a, bounded.b
    return type(bounded)(bound, x) if _is_one_number(bound) and not _is_one_number(x) else bounded


def _is_one_number(value: Any) -> bool:
    """Whether it is a number, or is loaded from where one lies alone."""
    if isinstance(value, TensorLoad):
        return all(isinstance(index, tirx.IntImm) for index in value.indices)
    return isinstance(value, tirx.FloatImm)


PASS_NAN = [(tirx.Max, _bound_first), (tirx.Min, _bound_first)]
"""For `structural_map`: bounds by numbers let a NaN pass, as relu(NaN) is NaN."""
