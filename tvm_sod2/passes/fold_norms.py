"""Recognise layer normalisation that an exporter spelled out.

    m = mean(x); d = x - m; v = mean(d * d); y = d / sqrt(v + eps) * gamma + beta
        ->  layer_norm(x, gamma, beta, eps)

over the trailing axes. One kernel then reads the row once instead of nine times.
"""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax.dpl import is_op, rewrite_call, wildcard

from tvm_sod2.passes.fold_constants import constant_array
from tvm_sod2.passes.mutate import map_functions


@tvm.transform.module_pass(opt_level=0, name="FoldNorms")
def fold_norms(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Replace each spelled-out layer normalisation over the last axis by the operator."""
    return map_functions(mod, _rewrite)


def _rewrite(func: relax.Function) -> relax.Function:
    source, gamma, beta, epsilon = wildcard(), wildcard(), wildcard(), wildcard()
    mean = is_op("relax.mean")(source)
    centred = is_op("relax.subtract")(source, mean)
    square = is_op("relax.multiply")(centred, centred)
    variance = is_op("relax.mean")(square)
    deviation = is_op("relax.sqrt")(is_op("relax.add")(variance, epsilon))
    normal = is_op("relax.divide")(centred, deviation)
    result = is_op("relax.add")(is_op("relax.multiply")(normal, gamma), beta)
    folded: list[relax.Call] = []

    def rewriter(call: relax.Call, found: dict) -> tvm.ir.Expr:
        x, scale, shift = found[source], found[gamma], found[beta]
        data = [constant_array(expr) for expr in (found[epsilon], scale, shift)]
        if not all(_over_last_axis(found[m], x.ty.ndim) for m in (mean, variance)):
            return call
        if data[0] is None or data[0].size != 1 or not _is_row(scale, x) or not _is_row(shift, x):
            return call
        folded.append(call)
        return relax.op.nn.layer_norm(x, scale, shift, axes=[-1], epsilon=float(data[0].flat[0]))

    rewritten = rewrite_call(result, rewriter, func)
    # TVM's rewriter canonicalises even where it finds nothing, and so drops casts that state dims.
    return rewritten if folded else func


def _over_last_axis(call: relax.Call, rank: int) -> bool:
    axes = call.attrs.axis
    return bool(call.attrs.keepdims) and axes is not None and [a % rank for a in axes] == [rank - 1]


def _is_row(expr: tvm.ir.Expr, like: tvm.ir.Expr) -> bool:
    """Whether the expression is a vector along the last axis of `like`."""
    ty = expr.ty
    if not isinstance(ty, relax.TensorType) or ty.ndim != 1 or ty.shape is None:
        return False
    return bool(tvm.sym.Analyzer().can_prove_equal(ty.shape.values[0], like.ty.shape.values[-1]))
