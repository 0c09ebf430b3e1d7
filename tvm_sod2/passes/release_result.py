"""Let go of the last call's result when the next call begins.

    def main(x):                         def main(x):
        y = alloc_storage(...)               cls.release_result()
        ...                       ->         y = alloc_storage(...)
                                             ...

    def release_result(): return 0

TVM's virtual machine holds what it last returned until something else returns. A caller that has
dropped a result would not get its memory back for the next one: results alternated between two
pieces of memory, and a sum of 8 MB took 1.7 times as long in caches that hold one of them.
"""

from __future__ import annotations

import tvm
from tvm import relax, tirx


@tvm.transform.module_pass(opt_level=0, name="ReleaseResult")
def release_result(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Call a function that returns a number first in every public function."""
    public = {
        gvar: func
        for gvar, func in mod.functions.items()
        if isinstance(func, relax.Function) and "global_symbol" in (func.attrs or {})
    }
    if not public:
        return mod
    builder = relax.BlockBuilder(mod)
    body = builder.normalize(relax.SeqExpr([], tirx.IntImm("int64", 0)))
    callee = builder.add_func(relax.Function([], body, is_pure=False), "release_result")
    for gvar, func in public.items():
        call = builder.normalize(relax.Call(callee, []))
        opening = relax.BindingBlock([relax.VarBinding(relax.Var("_", call.ty), call)])
        body = builder.normalize(relax.SeqExpr([opening, *func.body.blocks], func.body.body))
        func = relax.Function(func.params, body, func.ret_ty, func.is_pure, func.attrs, func.span)
        builder.update_func(gvar, func)
    return builder.get()
