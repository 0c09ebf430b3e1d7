"""The operators relax.nn.attention and attention_bias as kernels of spelled-out attention."""

from __future__ import annotations

from tvm import relax, tirx
from tvm.relax import Expr

from tvm_sod2.passes.attention_operands import Operands, broadcasts
from tvm_sod2.passes.operand_views import Definitions, contiguous, places
from tvm_sod2.schedules.attention import attention_kernel
from tvm_sod2.schedules.attention_spec import Attention, Axis, Causal, Step, View
from tvm_sod2.schedules.kernel import i64
from tvm_sod2.schedules.traits import Traits

OPERATORS = frozenset({"relax.nn.attention", "relax.nn.attention_bias"})


def operator_kernel(
    call: relax.Call, defined: Definitions, traits: Traits
) -> tuple[tirx.PrimFunc, list[Expr]] | None:
    """The kernel of a call with its arguments; None for what only TVM's own lowering knows."""
    q, k, v, *bias = call.args
    types = [value.ty for value in (*call.args, call)]
    if call.attrs.window_size is not None or any(
        ty.shape is None or str(ty.dtype) != "float32" for ty in types
    ):
        return None
    batch, rows, heads, depth = q.ty.shape.values
    keys, width = k.ty.shape.values[1], v.ty.shape.values[3]
    sizes = all(isinstance(dim, tirx.IntImm) and dim.value > 0 for dim in (depth, width))
    alike = (
        broadcasts(k.ty, [batch, keys, heads, depth])
        and broadcasts(v.ty, [batch, keys, heads, width])
        and all(broadcasts(x.ty, [batch, heads, rows, keys]) for x in bias)
    )
    if not sizes or not alike:
        return None
    operands = Operands([batch, heads, rows, keys])
    views = [
        operands.view(contiguous(places(x, defined), 3), x.ty, 4).swapped(1, 2) for x in (q, k, v)
    ]
    steps = []
    for x in bias:
        (place, *_) = places(x, {})
        steps.append(_added(operands.view(place, x.ty, 4)))
    rows, keys = operands.dim(rows), operands.dim(keys)
    causal = None
    if call.attrs.causal_mask is not None:
        late = keys - rows if str(call.attrs.causal_mask) == "BottomRight" else i64(0)
        causal = Causal(late, float("-inf"))
    result = View(operands.result(call.ty), tuple(map(Axis, (0, 2, 1, 3))))
    scale = call.attrs.scale
    attention = Attention(
        tuple(operands.params),
        (operands.dim(batch), operands.dim(heads)),
        rows,
        keys,
        int(depth),
        int(width),
        q=views[0],
        k=views[1],
        v=views[2],
        result=result,
        scale=int(depth) ** -0.5 if scale is None else float(scale),
        steps=tuple(steps),
        causal=causal,
    )
    return attention_kernel(attention, traits), operands.arguments


def _added(view: View) -> Step:
    return lambda score, index: score + view.at(index)
