"""Rounding to whole numbers by one vector instruction, on machines that have it.

Elsewhere math.py writes it as six; requantising, which rounds every element of a product, shows it.
"""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import ir, tirx
from tvm.target import codegen

from tvm_sod2.schedules.traits import Traits

INTRINSIC = "tirx.call_llvm_pure_intrin"
_NEARBYINT = "llvm.nearbyint"


def round_natively(func: tirx.PrimFunc, traits: Traits) -> tirx.PrimFunc:
    """`func` with float32 calls of nearbyint as LLVM's; TVM's own op would become arithmetic."""
    return tvm_ffi.structural_map(func, [(ir.Call, _replace)]) if traits.rounds else func


def _replace(call: Any) -> Any:
    if getattr(call.op, "name", "") != "tirx.nearbyint" or str(call.ty.dtype) != "float32":
        return call
    return tirx.call_llvm_pure_intrin("float32", _NEARBYINT, *call.args)


def rounded(value: Any) -> Any:
    """What is rounded to the nearest whole number, in either form; None for anything else."""
    name = getattr(value.op, "name", "") if isinstance(value, ir.Call) else ""
    if name == "tirx.nearbyint":
        return value.args[0]
    if name != INTRINSIC or int(value.args[0]) != codegen.llvm_lookup_intrinsic_id(_NEARBYINT):
        return None
    return value.args[1]
