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


def rewrite_functions(mod: tvm.IRModule, mutator: relax.PyExprMutator) -> tvm.IRModule:
    """The module with each Relax function passed through a mutator made for it, which may add
    functions of its own."""
    for gvar, func in mod.functions_items():
        if isinstance(func, relax.Function):
            mutator.builder_.update_func(gvar, mutator.visit_expr(func))
    return mutator.builder_.get()
