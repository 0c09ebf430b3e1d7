"""Turn the fused groups into kernels: one schedulable TIR function per group."""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx

from tvm_sod2.passes.bind_scalars import bind_scalars
from tvm_sod2.passes.fuse_tir import fuse_tir


def legalize_passes() -> list[tvm.transform.Pass]:
    """TVM's LegalizeOps with our anchors, then TVM's FuseTIR; reshapes in main stay views."""
    from tvm_sod2.schedules.legalize import LEGALIZE

    return [
        relax.transform.LegalizeOps(LEGALIZE, skip_ops=["relax.reshape"]),
        select_dims,
        fuse_tir,
        bind_scalars,
        # It reads blocks, so it runs while kernels still have them.
        restore_reshapes,
    ]


@tvm.transform.module_pass(opt_level=0, name="SelectDims")
def select_dims(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Dims with a condition, as pooling with ceil_mode has them, without a call.

    FuseTIR takes every call in a function for an operator's, those in a dim, too:

        T.if_then_else(n % 2 == 0, n // 2, n // 2 + 1) -> T.Select(n % 2 == 0, n // 2, n // 2 + 1)
    """

    functions: dict[tvm.ir.GlobalVar, Any] = {}
    for gvar, func in mod.functions_items():
        kernel = isinstance(func, tirx.PrimFunc)
        functions[gvar] = _with_selected_dims(func) if kernel else _selected(func)
    return tvm.IRModule(functions, attrs=mod.attrs)


def _selected(node: Any) -> Any:
    """The node with every conditional call in it as a Select."""

    def select(call: tvm.ir.Call) -> tvm.ir.Expr:
        conditional = getattr(call.op, "name", "") == "prim.if_then_else"
        return tirx.Select(*call.args) if conditional else call

    return tvm_ffi.structural_map(node, (tvm.ir.Call, select))


def _with_selected_dims(kernel: tirx.PrimFunc) -> tirx.PrimFunc:
    """The kernel with buffers of such dims; the conditions in its body guard accesses and stay."""
    new: dict[tvm.ir.Var, tvm.ir.Var] = {}
    for param in kernel.params:
        dims = getattr(param.ty, "shape", ())
        selected = [_selected(dim) for dim in dims]
        if not all(a.same_as(b) for a, b in zip(dims, selected, strict=True)):
            new[param] = tirx.decl_buffer(selected, param.ty.dtype, param.name, layout=None)
    if not new:
        return kernel
    body = tvm_ffi.structural_map(kernel.body, (tvm.ir.Var, lambda var: new.get(var, var)))
    params = [new.get(param, param) for param in kernel.params]
    return tirx.PrimFunc(params, body, kernel.ret_type, kernel.attrs)


@tvm.transform.module_pass(opt_level=0, name="RestoreReshapes")
def restore_reshapes(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """TVM's RewriteDataflowReshape, which fails on kernels that came scheduled: hidden from it."""
    scheduled = {
        gvar: func
        for gvar, func in mod.functions_items()
        if isinstance(func, tirx.PrimFunc) and func.attrs and "tirx.is_scheduled" in func.attrs
    }
    nothing = tirx.Evaluate(tirx.const(0, "int32"))
    mod = mod.clone()  # The caller's module keeps its kernels.
    for gvar, func in scheduled.items():
        mod.update_func(gvar, tirx.PrimFunc(func.params, nothing, func.ret_type, func.attrs))
    mod = relax.transform.RewriteDataflowReshape()(mod)
    for gvar, func in scheduled.items():
        mod.update_func(mod.get_global_var(gvar.name_hint), func)
    return mod
