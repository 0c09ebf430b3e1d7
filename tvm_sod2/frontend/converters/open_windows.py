"""Convolutions whose window's size only the run knows, and deformed ones: one sum per element.

Relax's convolutions take a weight of any size, but its legalisation and the packed kernels here
want the window's size as integers. These expressions do not; they are right at any size, and slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import te, tirx
from tvm.relax import Expr

from tvm_sod2.frontend.context import Context, Dim
from tvm_sod2.frontend.converters.kernels import emit_te
from tvm_sod2.frontend.converters.windows import Window
from tvm_sod2.frontend.dims import expr, simplify


def convolve_open(c: Context, w: Window, weight: Expr, groups: int) -> Expr:
    """Emit sum over i, taps of x[n, i, o * stride + tap * dilation - pad] * weight[m, i, tap].

    x: (N, groups * I, spatial...), weight: (M, I, taps...), result: (N, M, spatial...).
    """
    spatial = len(w.kernel)
    size = [
        simplify(
            (dim + w.pads[i] + w.pads[spatial + i] - (w.kernel[i] - 1) * w.dilations[i] - 1)
            // w.strides[i]
            + 1
        )
        for i, dim in enumerate(c.dims(w.x)[2:])
    ]

    def compute(x: te.Tensor, weights: te.Tensor, sizes: list[Any]) -> te.Tensor:
        channel, taps = _reduced(weights.shape[1], weights.shape[2:])
        outputs = tirx.floordiv(weights.shape[0], groups)

        def element(n: Any, m: Any, *index: Any) -> Any:
            at = [
                i * w.strides[a] + taps[a] * w.dilations[a] - w.pads[a] for a, i in enumerate(index)
            ]
            first = tirx.floordiv(m, outputs) * weights.shape[1]
            value = tirx.if_then_else(
                _inside(at, x.shape[2:]), x(n, first + channel, *at), tirx.const(0, x.dtype)
            )
            return te.sum(value * weights(m, channel, *taps), axis=[channel, *taps])

        shape = (x.shape[0], weights.shape[0], *map(expr, sizes))
        return te.compute(shape, element, name="conv_open")

    return emit_te(c, compute, w.x, weight, size)


def convolve_transpose_open(
    c: Context,
    x: Expr,
    weight: Expr,
    strides: Sequence[int],
    dilations: Sequence[int],
    before: Sequence[Dim],
    size: Sequence[Dim],
    groups: int,
) -> Expr:
    """Emit the transposed convolution of result size ``size``, its first ``before`` cut off.

    x: (N, groups * I, spatial...), weight: (groups * I, M, taps...),
    result: (N, groups * M, size...); what no tap reaches is zero.
    """

    def compute(data: te.Tensor, weights: te.Tensor, cut: list[Any], sizes: list[Any]) -> te.Tensor:
        inputs = tirx.floordiv(weights.shape[0], groups)
        channel, taps = _reduced(inputs, weights.shape[2:])

        def element(n: Any, m: Any, *index: Any) -> Any:
            from_ = [i + cut[a] - taps[a] * dilations[a] for a, i in enumerate(index)]
            at = [tirx.floordiv(place, strides[a]) for a, place in enumerate(from_)]
            hits = [tirx.floormod(place, strides[a]) == 0 for a, place in enumerate(from_)]
            source = tirx.floordiv(m, weights.shape[1]) * inputs + channel
            value = tirx.if_then_else(
                tirx.all(*hits, _inside(at, data.shape[2:])),
                data(n, source, *at),
                tirx.const(0, data.dtype),
            )
            target = tirx.floormod(m, weights.shape[1])
            return te.sum(value * weights(source, target, *taps), axis=[channel, *taps])

        shape = (data.shape[0], weights.shape[1] * groups, *map(expr, sizes))
        return te.compute(shape, element, name="conv_transpose_open")

    return emit_te(c, compute, x, weight, list(before), list(size))


def _reduced(channels: Any, window: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Return the axes summed over: input channels of a group, and the taps."""
    channel = te.reduce_axis((0, channels), name="channel")
    return channel, [te.reduce_axis((0, k), name=f"tap{i}") for i, k in enumerate(window)]


def _inside(at: Sequence[Any], size: Sequence[Any]) -> Any:
    return tirx.all(*(tirx.all(p >= 0, p < n) for p, n in zip(at, size, strict=True)))
