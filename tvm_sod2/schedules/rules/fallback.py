"""The rule that always applies: what cannot be read keeps its loops."""

from __future__ import annotations

from tvm.tirx import PrimFunc

from tvm_sod2.schedules.requantise import requantise_in_bits
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.vectorise_math import vectorise_math

__all__ = ["keep_loops"]


def keep_loops(func: PrimFunc, traits: Traits) -> PrimFunc:
    """The function as it is, with polynomial mathematics.

    Opaque and extern blocks, scans, data-dependent writes and loops that were scheduled already
    have an order that must stay; TVM's lowering runs them as written.
    """
    del traits
    return vectorise_math(requantise_in_bits(func))
