"""Casts of bfloat16 to wider floats are made of bits.

    float32(A[i])  ->  reinterpret(float32, uint32(reinterpret(uint16, A[i])) << 16)

TVM legalises them everywhere but in the values of lets, which keep a cast of the bits as a number.
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Expr, TensorLoad

__all__ = ["widen_bfloat16"]


@tvm.transform.module_pass(opt_level=0, name="WidenBFloat16")
def widen_bfloat16(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Rewrite casts of elements; runs before TVM legalises what computes in bfloat16."""
    for gvar, func in mod.functions.items():
        mod[gvar] = tvm_ffi.structural_map(func, [(tirx.Cast, _widened)])
    return mod


def _widened(cast: tirx.Cast) -> Expr:
    load = cast.value
    if not isinstance(load, TensorLoad) or str(load.ty.dtype) != "bfloat16":
        return cast
    bits = tirx.Cast("uint32", tirx.reinterpret("uint16", load)) << tirx.const(16, "uint32")
    wide = tirx.reinterpret("float32", bits)
    return wide if str(cast.ty.dtype) == "float32" else tirx.Cast(cast.ty.dtype, wide)
