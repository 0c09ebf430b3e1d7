"""Functions that compute dims divide by no dim that is 0.

    heap[3] = n * m // k   ->   heap[3] = n * m // max(k, 1)

They run before, or as, the check that says which dims may not be 0; on x86 the division would end
the process.
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import tirx

_DIVISIONS = (tirx.FloorDiv, tirx.FloorMod, tirx.Div, tirx.Mod)


@tvm.transform.module_pass(opt_level=0, name="SafeDivisions")
def safe_divisions(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """The module with the divisors guarded in every host function; kernels have plain dims."""
    mod = mod.clone()
    for gvar, func in mod.functions_items():
        if isinstance(func, tirx.PrimFunc) and func.attrs and "tirx.is_host_func" in func.attrs:
            guards = [(division, _guarded) for division in _DIVISIONS]
            mod.update_func(gvar, tvm_ffi.structural_map(func, guards, order="post"))
    return mod


def _guarded(division: tirx.FloorDiv) -> tvm.ir.Expr:
    if isinstance(division.b, tirx.IntImm):
        return division
    return type(division)(division.a, tirx.Max(division.b, tirx.const(1, division.b.ty.dtype)))
