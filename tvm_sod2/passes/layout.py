"""Convolution regions run channels-last, converted once at their borders.

Source: TVM's ConvertLayout, which carries a layout through elementwise operators, pooling, concat
and resize with symbolic sizes; kernels.md has the measurements that chose dense NHWC.
"""

from __future__ import annotations

import tvm
from tvm import relax

from tvm_sod2.passes.fold_constants import fold_constants
from tvm_sod2.passes.inline_leaves import inline_leaves

_DESIRED = {
    "relax.nn.conv2d": ["NHWC", "OHWI"],
    "relax.nn.conv2d_transpose": ["NHWC", "IOHW"],
}


def layout_passes() -> list[tvm.transform.Pass]:
    """Convert convolutions to NHWC; the transposes of weights are computed at build."""
    return [
        convert_layout,
        fold_constants,
        inline_leaves,
    ]


@tvm.transform.module_pass(opt_level=0, name="ConvertLayoutOfConvolutions")
def convert_layout(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """TVM's ConvertLayout on the functions that convolve.

    It renews the variable of an If whose type names a symbol that a match_cast binds, and forgets
    to do so where the variable is read.
    """
    convolving = {
        gvar: func
        for gvar, func in mod.functions_items()
        if isinstance(func, relax.Function) and _convolves(func)
    }
    converted = relax.transform.ConvertLayout(_DESIRED)(tvm.IRModule(convolving))
    result = tvm.IRModule(dict(mod.functions_items()), attrs=mod.attrs)
    for gvar, func in convolving.items():
        renewed = dict(zip(_results_of_ifs(func), _results_of_ifs(converted[gvar]), strict=True))
        stale = set(relax.analysis.free_vars(converted[gvar])) & set(renewed)
        again = _Reader({var: renewed[var] for var in stale}).visit_expr(converted[gvar])
        result.update_func(gvar, again if stale else converted[gvar])
    return result


@relax.expr_functor.mutator
class _Reader(relax.PyExprMutator):
    """Reads other variables, with their types, in place of some."""

    def __init__(self, other: dict[tvm.ir.Var, tvm.ir.Var]) -> None:
        super().__init__()
        self.other = other

    def visit_var_(self, op: tvm.ir.Var) -> tvm.ir.Expr:
        return super().visit_var_(self.other.get(op, op))

    def visit_dataflow_var_(self, op: tvm.ir.Var) -> tvm.ir.Expr:
        return super().visit_dataflow_var_(self.other.get(op, op))


def _results_of_ifs(func: relax.Function) -> list[tvm.ir.Var]:
    """The variables bound to an If, in order; those in its arms behind it."""
    found: list[tvm.ir.Var] = []
    work = [func.body]
    while work:
        body = work.pop(0)
        if not isinstance(body, relax.SeqExpr):
            continue
        for binding in (b for block in body.blocks for b in block.bindings):
            if isinstance(binding.value, relax.If):
                found.append(binding.var)
                work += [binding.value.true_branch, binding.value.false_branch]
    return found


def _convolves(func: relax.Function) -> bool:
    found = False

    def visit(expr: tvm.ir.Expr) -> None:
        nonlocal found
        found |= isinstance(expr, relax.Call) and getattr(expr.op, "name", "") in _DESIRED

    relax.analysis.post_order_visit(func, visit)
    return found
