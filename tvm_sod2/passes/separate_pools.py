"""The maximum over a window is the maximum over a row of the window's columns' maxima.

    y = max_pool2d(x, [5, 5])   ->   c = max_pool2d(x, [5, 1]); y = max_pool2d(c, [1, 5])

A column's maximum serves all windows that it lies in: 10 comparisons for an element instead of 25.
"""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.passes.mutate import map_functions

_PASSED_ON = 1  # what storing a column's maximum and loading it costs, in comparisons


@tvm.transform.module_pass(opt_level=0, name="SeparatePools")
def separate_pools(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Separate every pool where that compares less, counted for an output; others stay."""
    return map_functions(mod, lambda func: _Separator().visit_expr(func))


@relax.expr_functor.mutator
class _Separator(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> Expr:
        call = super().visit_call_(call)
        if getattr(call.op, "name", "") != "relax.nn.max_pool2d":
            return call
        attrs = call.attrs
        (height, width), (_, step) = map(_ints, (attrs.pool_size, attrs.strides))
        separate = step * (height + _PASSED_ON) + width + _PASSED_ON
        if height == 1 or width == 1 or separate >= height * width:
            return call
        columns = self.builder_.emit(_along(call.args[0], attrs, 0))
        return _along(columns, attrs, 1)


def _along(x: Expr, attrs: relax.op.op_attrs.Pool2DAttrs, axis: int) -> relax.Call:
    """The pool along its height (axis 0) or width (1) alone."""

    def alone(values: object, other: int) -> list[int]:
        kept = _ints(values)
        kept[1 - axis :: 2] = [other] * (len(kept) // 2)
        return kept

    return R.nn.max_pool2d(
        x,
        pool_size=alone(attrs.pool_size, 1),
        strides=alone(attrs.strides, 1),
        padding=alone(attrs.padding, 0),
        dilation=alone(attrs.dilation, 1),
        ceil_mode=attrs.ceil_mode,
        layout=attrs.layout,
        out_layout=attrs.out_layout,
    )


def _ints(values: object) -> list[int]:
    return [int(value) for value in values]  # type: ignore[attr-defined]
