"""Turn the fused groups into kernels: one schedulable TIR function per group."""

from __future__ import annotations

import tvm
from tvm import relax, tirx

from tvm_sod2.passes.bind_scalars import bind_scalars
from tvm_sod2.passes.fuse_tir import fuse_tir
from tvm_sod2.passes.safe_casts import safe_casts
from tvm_sod2.passes.select_dims import select_dims


def legalize_passes() -> list[tvm.transform.Pass]:
    """TVM's LegalizeOps with our anchors, then TVM's FuseTIR; reshapes in main stay views."""
    from tvm_sod2.schedules.legalize import LEGALIZE

    return [
        relax.transform.LegalizeOps(LEGALIZE, skip_ops=["relax.reshape"]),
        select_dims,
        safe_casts,
        fuse_tir,
        bind_scalars,
        # It reads blocks, so it runs while kernels still have them.
        restore_reshapes,
    ]


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
