"""Deformable convolution: columns sampled where the offsets say, then one product per group.

Dai et al., "Deformable Convolutional Networks" (ICCV 2017), with the masks of its second version.
"""

from __future__ import annotations

from typing import Any

from tvm import te, tirx
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters.conv import add_channel_bias
from tvm_sod2.frontend.converters.kernels import emit_te
from tvm_sod2.frontend.dims import floordiv, product

Attrs = dict[str, Any]
Inputs = list[Any]


def _deform_conv(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, weight, offset, bias, mask = (*inputs, None, None)[:5]
    if c.rank(x) != 4:
        raise c.error(f"only images (N, C, H, W) are supported; its input X has rank {c.rank(x)}")
    groups = attrs.get("group", 1)
    n, _, height, width = c.dims(offset)
    outputs, inner, *window = c.dims(weight)
    columns = _columns(c, [x, weight, offset, *([] if mask is None else [mask])], attrs)
    rows = product([inner, *window])
    columns = c.reshape(columns, [n, groups, rows, product([height, width])])
    per_group = floordiv(outputs, groups)
    y = R.matmul(c.reshape(weight, [1, groups, per_group, rows]), columns)
    y = c.reshape(c.emit(y), [n, outputs, height, width])
    return add_channel_bias(c, y, bias)


def _columns(c: Context, args: list[Expr], attrs: Attrs) -> Expr:
    """Emit the elements under each tap, (N, C, kH, kW, oH, oW): between four elements of x, zero
    outside of it, times the mask.

    args: x (N, C, H, W), the weight for its window, offset (N, offset groups * kH * kW * 2, oH, oW)
    and, if there is one, mask (N, offset groups * kH * kW, oH, oW).
    """
    strides, dilations = attrs.get("strides") or [1, 1], attrs.get("dilations") or [1, 1]
    pads, parts = attrs.get("pads") or [0] * 4, attrs.get("offset_group", 1)

    def compute(x: te.Tensor, weight: te.Tensor, offset: te.Tensor, *mask: te.Tensor) -> te.Tensor:
        dtype, size, window = x.dtype, x.shape[2:], weight.shape[2:]
        share = tirx.floordiv(x.shape[1], parts)

        def element(n: Any, channel: Any, i: Any, j: Any, *out: Any) -> Any:
            tap = (tirx.floordiv(channel, share) * window[0] + i) * window[1] + j
            at = [
                tirx.Cast(dtype, out[a] * strides[a] + (i, j)[a] * dilations[a] - pads[a])
                + offset(n, tap * 2 + a, *out)
                for a in range(2)
            ]
            low = [tirx.floor(place) for place in at]
            value: Any = tirx.const(0, dtype)
            for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
                place = [tirx.Cast("int64", low[a]) + corner[a] for a in range(2)]
                weights = [
                    at[a] - low[a] if corner[a] else tirx.const(1, dtype) - (at[a] - low[a])
                    for a in range(2)
                ]
                inside = [tirx.all(p >= 0, p < s) for p, s in zip(place, size, strict=True)]
                found = tirx.if_then_else(
                    tirx.all(*inside), x(n, channel, *place), tirx.const(0, dtype)
                )
                value = value + found * weights[0] * weights[1]
            return value * mask[0](n, tap, *out) if mask else value

        shape = (*x.shape[:2], *window, *offset.shape[2:])
        return te.compute(shape, element, name="deform_columns")

    return emit_te(c, compute, *args)


CONVERTERS: dict[str, Converter] = {"DeformConv": _deform_conv}
