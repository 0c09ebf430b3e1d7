"""Differences of floats that TVM would cancel, written as sums, which it leaves alone.

    x - x            ->  x + x * -1
    (x + y) - y      ->  (x + y) + y * -1

TVM's simplifier makes 0 and x of these, on purpose. That is wrong for NaN and infinity, and where
the sum was rounded: adding and taking away 2 ** 23 is how some models round. LLVM turns the sums
back into differences.
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Expr


@tvm.transform.module_pass(opt_level=0, name="ExactDifferences")
def exact_differences(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Rewrite the differences whose operands have something in common; other kernels stay."""
    for gvar, func in mod.functions.items():
        mod[gvar] = tvm_ffi.structural_map(func, [(tirx.Sub, _exact)], order="post")
    return mod


def _exact(difference: tirx.Sub) -> Expr:
    dtype = str(difference.ty.dtype)
    a, b = difference.a, difference.b
    if "float" not in dtype or not _may_cancel(a, b):
        return difference
    return tirx.Add(a, tirx.Mul(b, tirx.const(-1.0, dtype)))


def _may_cancel(a: Expr, b: Expr) -> bool:
    """Whether one operand is the other, or a part of it that the simplifier takes out."""
    return any(tvm_ffi.structural_equal(part, b) for part in _parts(a)) or any(
        tvm_ffi.structural_equal(part, a) for part in _parts(b)
    )


def _parts(expr: Expr) -> list[Expr]:
    """The expression, and what it is a sum or a choice of."""
    if isinstance(expr, tirx.Add):
        return [expr, *_parts(expr.a), *_parts(expr.b)]
    if isinstance(expr, tirx.Select):
        return [expr, *_parts(expr.true_value), *_parts(expr.false_value)]
    return [expr]
