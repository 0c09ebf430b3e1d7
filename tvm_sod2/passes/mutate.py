"""One way to rewrite every Relax function of a module."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import relax


def map_functions(
    mod: tvm.IRModule, rewrite: Callable[[relax.Function], relax.Function]
) -> tvm.IRModule:
    """The module with each Relax function replaced by `rewrite` of it; kernels stay."""
    result = tvm.IRModule(dict(mod.functions_items()), attrs=mod.attrs)
    for gvar, func in mod.functions_items():
        if isinstance(func, relax.Function):
            result.update_func(gvar, rewrite(func))
    return result
