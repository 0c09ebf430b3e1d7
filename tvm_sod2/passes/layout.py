"""Convolution regions run channels-last, converted once at their borders.

Source: TVM's ConvertLayout, which carries a layout through elementwise operators, pooling, concat
and resize with symbolic sizes; kernels.md has the measurements that chose dense NHWC.
"""

from __future__ import annotations

import tvm
from tvm import relax

from tvm_sod2.memory.symbols import all_symbols, input_symbols
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

    It renews the symbols that a match_cast binds, but not in the types of all who read them: an If's
    result is lost then, or a result of the function refused. So they pose as dims of a parameter.
    """
    convolving = {
        gvar: _with_parameter(func)
        for gvar, func in mod.functions_items()
        if isinstance(func, relax.Function) and _convolves(func)
    }
    converted = relax.transform.ConvertLayout(_DESIRED)(tvm.IRModule(convolving))
    result = tvm.IRModule(dict(mod.functions_items()), attrs=mod.attrs)
    for gvar in convolving:
        func = converted[gvar]
        result.update_func(gvar, _with_params(func, list(func.params)[1:]))
    return result


def _with_parameter(func: relax.Function) -> relax.Function:
    """The function with a parameter in front whose dims are the symbols it binds."""
    given = set(input_symbols(func))
    bound = [symbol for symbol in all_symbols(func) if symbol not in given]
    return _with_params(func, [relax.Var("bound", relax.ShapeType(bound)), *func.params])


def _with_params(func: relax.Function, params: list[tvm.ir.Var]) -> relax.Function:
    return relax.Function(params, func.body, func.ret_ty, func.is_pure, func.attrs, func.span)


def _convolves(func: relax.Function) -> bool:
    found = False

    def visit(expr: tvm.ir.Expr) -> None:
        nonlocal found
        found |= isinstance(expr, relax.Call) and getattr(expr.op, "name", "") in _DESIRED

    relax.analysis.post_order_visit(func, visit)
    return found
