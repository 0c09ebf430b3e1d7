"""TVM's FuseTIR, without the parameters that it drops of the functions around the groups.

    def arm(x: R.Tensor(("n + 1",)), n: T.int64)  ->  def arm(x: R.Tensor(("n + 1",)))

It takes a parameter that only types mention for unused. Nothing tells ``n`` then, and lowering the
shapes fails. It leaves functions alone that are exported, so they all pass for that.
"""

from __future__ import annotations

import tvm
from tvm import relax

from tvm_sod2.passes.mutate import map_functions

_EXPORTED = "global_symbol"


@tvm.transform.module_pass(opt_level=0, name="FuseTIRAlone")
def fuse_tir(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Fuse each group into one kernel; the other Relax functions keep their parameters."""
    private = {
        gvar.name_hint: func
        for gvar, func in mod.functions_items()
        if isinstance(func, relax.Function)
        and not any(name in (func.attrs or {}) for name in ("Primitive", _EXPORTED))
    }
    mod = mod.clone()
    for name, func in private.items():
        mod.update_func(mod.get_global_var(name), func.with_attr(_EXPORTED, name))
    mod = relax.transform.FuseTIR()(mod)

    def again_private(func: relax.Function) -> relax.Function:
        symbol = (func.attrs or {}).get(_EXPORTED)
        return (
            func.without_attr(_EXPORTED) if symbol is not None and str(symbol) in private else func
        )

    return map_functions(mod, again_private)
