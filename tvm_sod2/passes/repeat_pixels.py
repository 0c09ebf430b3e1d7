"""Channels-first images enlarged to the nearest pixel by whole factors: each pixel is repeated.

    y = resize2d(x, (h * 2, w * 2))  ->  p = reshape(x, (n, c, h, 1, w, 1))
                                         q = broadcast_to(p, (n, c, h, 2, w, 2))
                                         y = reshape(q, (n, c, h * 2, w * 2))

A copy that needs no coordinates. Where channels are last, an image's rows are long copies already.
"""

from __future__ import annotations

import tvm
from tvm import relax, tirx
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.passes.mutate import map_functions

# Coordinates and rounding that give x // k: halves of pixels never meet a tie.
_NEAREST = {
    ("asymmetric", "floor"),
    ("half_pixel", "round"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
}

_MOST = 32


@tvm.transform.module_pass(opt_level=0, name="RepeatPixels")
def repeat_pixels(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Rewrite every such resize2d; runs when layouts are decided."""
    return map_functions(mod, lambda func: _Repeater().visit_expr(func))


@relax.expr_functor.mutator
class _Repeater(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> Expr:
        call = self.visit_expr_post_order(call)
        if getattr(call.op, "name", "") != "relax.image.resize2d":
            return call
        attrs, x = call.attrs, call.args[0]
        chosen = str(attrs.coordinate_transformation_mode), str(attrs.rounding_method)
        if str(attrs.method) != "nearest_neighbor" or chosen not in _NEAREST:
            return call
        if str(attrs.layout) != "NCHW" or x.ty.shape is None or call.ty.shape is None:
            return call
        n, c, h, w = x.ty.shape.values
        height, width = call.ty.shape.values[2], call.ty.shape.values[3]
        down, across = _factor(h, height), _factor(w, width)
        if down is None or across is None:
            return call
        emit = self.builder_.emit
        one, wide = tirx.IntImm("int64", 1), [tirx.IntImm("int64", k) for k in (down, across)]
        pixels = emit(R.reshape(x, relax.ShapeExpr([n, c, h, one, w, one])))
        several = relax.ShapeExpr([n, c, h, wide[0], w, wide[1]])
        return R.reshape(emit(R.broadcast_to(pixels, several)), call.ty.shape)


def _factor(size: Expr, larger: Expr) -> int | None:
    """The whole number that one dim is of another, if it is known and small."""
    if isinstance(size, tirx.IntImm) and size.value == 0:
        return None  # A reshape reads a 0 as a dim to copy.
    analyzer = tvm.sym.Analyzer()
    known = (k for k in range(1, _MOST + 1) if analyzer.can_prove_equal(larger, size * k))
    return next(known, None)
