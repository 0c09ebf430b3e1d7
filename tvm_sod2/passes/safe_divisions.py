"""No integer is divided by 0, which would end the process on x86.

    heap[3] = n * m // k   ->   heap[3] = n * m // max(k, 1)
    y[i] = a[i] / b[i]     ->   y[i] = select(b[i] == -1, -a[i], a[i] / select(b[i] == 0, 1, b[i]))

Functions that compute dims run before, or as, the check that says which dims may not be 0. What
data divided by 0 is, and the lowest number by -1, ONNX leaves open.
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import tirx

_DIVISIONS = (tirx.FloorDiv, tirx.FloorMod, tirx.Div, tirx.Mod)


@tvm.transform.module_pass(opt_level=0, name="SafeDivisions")
def safe_divisions(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """The module with the divisors guarded: in host functions all, in kernels those of data."""
    mod = mod.clone()
    for gvar, func in mod.functions_items():
        if not isinstance(func, tirx.PrimFunc):
            continue
        on_dims = func.attrs and "tirx.is_host_func" in func.attrs
        guards = [(division, _guarded if on_dims else _of_data) for division in _DIVISIONS]
        mod.update_func(gvar, tvm_ffi.structural_map(func, guards, order="post"))
    return mod


def _guarded(division: tirx.FloorDiv) -> tvm.ir.Expr:
    if isinstance(division.b, tirx.IntImm):
        return division
    return type(division)(division.a, tirx.Max(division.b, tirx.const(1, division.b.ty.dtype)))


def _of_data(division: tirx.FloorDiv) -> tvm.ir.Expr:
    a, b, dtype = division.a, division.b, str(division.ty.dtype)
    if "int" not in dtype or isinstance(b, tirx.IntImm) or not _loads(b):
        return division
    zero, one = tirx.const(0, dtype), tirx.const(1, dtype)
    if dtype.startswith("u"):
        return type(division)(a, tirx.Select(b == zero, one, b))
    turned = zero - a if isinstance(division, tirx.Div | tirx.FloorDiv) else zero
    whole = tirx.Select(tirx.Or(b == zero, b == zero - one), one, b)
    return tirx.Select(b == zero - one, turned, type(division)(a, whole))


def _loads(expr: tvm.ir.Expr) -> bool:
    stop = (tvm.ir.TensorLoad, lambda _: tvm_ffi.VisitInterrupt(True))
    return tvm_ffi.structural_walk(expr, stop, order="pre") is not None
