"""Dims with a condition in them, without a call: `Select` is this package's one form of it.

    T.if_then_else(n % 2 == 0, n // 2, n // 2 + 1) -> T.Select(n % 2 == 0, n // 2, n // 2 + 1)

Relax binds a call that is an operator's argument, such as the end of a range, to a variable of its
own, and FuseTIR takes every call in a function for an operator's, those in a dim, too. Relax's
inference makes such dims of pools with ceil_mode and of slices that nothing says are in bounds.
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx

from tvm_sod2.op_classes.expressions import selected


@tvm.transform.module_pass(opt_level=0, name="SelectDims")
def select_dims(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """The module with a Select for every conditional call in a dim of a function or kernel."""
    functions: dict[tvm.ir.GlobalVar, Any] = {}
    for gvar, func in mod.functions_items():
        functions[gvar] = selected(func) if isinstance(func, relax.Function) else func
        if isinstance(func, tirx.PrimFunc):
            functions[gvar] = _with_selected_dims(func)
    return tvm.IRModule(functions, attrs=mod.attrs)


def _with_selected_dims(kernel: tirx.PrimFunc) -> tirx.PrimFunc:
    """The kernel with buffers of such dims; the conditions in its body guard accesses and stay."""
    new: dict[tvm.ir.Var, tvm.ir.Var] = {}
    for param in kernel.params:
        dims = getattr(param.ty, "shape", ())
        plain = [selected(dim) for dim in dims]
        if not all(a.same_as(b) for a, b in zip(dims, plain, strict=True)):
            new[param] = tirx.decl_buffer(plain, param.ty.dtype, param.name, layout=None)
    if not new:
        return kernel
    body = tvm_ffi.structural_map(kernel.body, (tvm.ir.Var, lambda var: new.get(var, var)))
    params = [new.get(param, param) for param in kernel.params]
    return tirx.PrimFunc(params, body, kernel.ret_type, kernel.attrs)
