"""Anchors as TE computations: convolution, transposed convolution and matrix product.

TVM's own legalisation pads into a second buffer and forgets strides and paddings on the way. Here
each anchor is one annotated block, so that an emitter finds everything in it (`sod2.anchor` and
`sod2.<parameter>`), while the block remains a true definition that any schedule may transform.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax, te, tirx

from tvm_sod2.schedules.arcs import ARCS
from tvm_sod2.schedules.borders import pad
from tvm_sod2.schedules.by_index import gather_elements, scatter
from tvm_sod2.schedules.nan import logical_not
from tvm_sod2.schedules.stretch import broadcast_to

Legalizer = Callable[[relax.BlockBuilder, Any], Any]

FLOAT = "float32"

# The kinds of anchors by the type they compute in; what an anchor is called carries it.
_PREFIX = {FLOAT: "", "int32": "integer_"}


def stock_legalization(bb: relax.BlockBuilder, call: Any) -> Any:
    """TVM's own legalisation of the call; the call itself where TVM has none."""
    legalize = call.op.get_attr("FLegalize")
    return call if legalize is None else legalize(bb, call)


def _ints(values: Sequence[Any]) -> list[int]:
    return [int(v) for v in values]


def _shape_known(call: Any) -> bool:
    return all(getattr(e.ty, "shape", None) is not None for e in (call, *call.args))


def _one_dtype(call: Any) -> str | None:
    """The element type of the operands and the result, None if they differ."""
    dtypes = {str(e.ty.dtype) for e in (call, *call.args)}
    return dtypes.pop() if len(dtypes) == 1 else None


class _Layout:
    """Orders indices given by letter, e.g. "NHWC", and reads dims by letter."""

    def __init__(self, letters: str) -> None:
        self.letters = letters

    def index(self, **by_letter: Any) -> list[Any]:
        return [by_letter[c] for c in self.letters]

    def dims(self, tensor: te.Tensor) -> dict[str, Any]:
        return dict(zip(self.letters, tensor.shape, strict=True))


def _inside(checks: list[tuple[Any, Any, bool, bool]]) -> list[Any]:
    """Conditions 0 <= i < n, leaving out those that cannot fail.

    Each check is (i, n, may i be negative, may i reach n).
    """
    conditions = []
    for i, n, below, above in checks:
        if below:
            conditions.append(i >= 0)
        if above:
            conditions.append(i < n)
    return conditions


def _guarded(conditions: list[Any], value: Any) -> Any:
    if not conditions:
        return value
    return tirx.if_then_else(tirx.all(*conditions), value, tirx.const(0, str(value.ty.dtype)))


@dataclass(frozen=True)
class _Convolution:
    """The parameters of a convolution or of a transposed one; pairs are vertical, horizontal.

    Attributes:
        padding: top, left, bottom, right.
    """

    data: _Layout
    kernel: _Layout
    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]
    groups: int

    def axes(self, weights: dict[str, Any], inputs: Any) -> list[tirx.IterVar]:
        """The reduction: rows and columns of the kernel, and `inputs` channels."""
        return [
            te.reduce_axis((0, extent), name=name)
            for name, extent in (("kh", weights["H"]), ("kw", weights["W"]), ("ic", inputs))
        ]

    def annotations(self, anchor: str) -> dict[str, Any]:
        return {
            "sod2.anchor": anchor,
            "sod2.strides": list(self.strides),
            "sod2.padding": list(self.padding),
            "sod2.dilation": list(self.dilation),
            "sod2.groups": self.groups,
            "sod2.data_layout": self.data.letters,
            "sod2.kernel_layout": self.kernel.letters,
        }


def _convolution(call: Any) -> _Convolution | None:
    """The parameters of a call with known shapes and plain layouts, else None."""
    attrs = call.attrs
    if (
        not _shape_known(call)
        or attrs.out_layout != attrs.data_layout
        or sorted(attrs.data_layout) != sorted("NHWC")
        or sorted(attrs.kernel_layout) != sorted("OHWI")
    ):
        return None
    top, left, bottom, right = _ints(attrs.padding)
    (down, across), (dh, dw) = _ints(attrs.strides), _ints(attrs.dilation)
    return _Convolution(
        _Layout(attrs.data_layout),
        _Layout(attrs.kernel_layout),
        (down, across),
        (dh, dw),
        (top, left, bottom, right),
        int(attrs.groups),
    )


def _conv2d(bb: relax.BlockBuilder, call: Any) -> Any:
    """relax.nn.conv2d in any plain layout, grouped, dilated and padded, as one block."""
    conv, dtype = _convolution(call), _one_dtype(call)
    if conv is None or dtype not in _PREFIX:
        return stock_legalization(bb, call)
    data, kernel = conv.data, conv.kernel
    (sh, sw), (dh, dw) = conv.strides, conv.dilation
    top, left, bottom, right = conv.padding
    annotations = conv.annotations(_PREFIX[dtype] + "conv2d")

    def conv2d(x: te.Tensor, w: te.Tensor) -> te.Tensor:
        xd, wd = data.dims(x), kernel.dims(w)
        per_group = tvm.sym.Analyzer().simplify(wd["O"] // conv.groups)
        kh, kw, ic = conv.axes(wd, wd["I"])

        def compute(*index: Any) -> Any:
            at = dict(zip(data.letters, index, strict=True))
            ih = at["H"] * sh + kh * dh - top
            iw = at["W"] * sw + kw * dw - left
            channel = ic if conv.groups == 1 else at["C"] // per_group * wd["I"] + ic
            inside = _inside(
                [(ih, xd["H"], top > 0, bottom > 0), (iw, xd["W"], left > 0, right > 0)]
            )
            value = _guarded(inside, x(*data.index(N=at["N"], H=ih, W=iw, C=channel)))
            weight = w(*kernel.index(O=at["C"], H=kh, W=kw, I=ic))
            return te.sum(value * weight, axis=[kh, kw, ic])

        return te.compute(list(call.ty.shape), compute, name="conv2d", attrs=annotations)

    return bb.call_te(conv2d, *call.args, primfunc_name_hint="conv2d")


def _conv2d_transpose(bb: relax.BlockBuilder, call: Any) -> Any:
    """relax.nn.conv2d_transpose as a gather: each output pixel sums the taps that reach it."""
    conv = _convolution(call)
    if conv is None or _one_dtype(call) != FLOAT:
        return stock_legalization(bb, call)
    data, kernel = conv.data, conv.kernel
    (sh, sw), (dh, dw) = conv.strides, conv.dilation
    top, left, *_ = conv.padding
    annotations = conv.annotations("conv2d_transpose")
    annotations["sod2.output_padding"] = _ints(call.attrs.output_padding)

    def conv2d_transpose(x: te.Tensor, w: te.Tensor) -> te.Tensor:
        xd, wd = data.dims(x), kernel.dims(w)
        inputs = tvm.sym.Analyzer().simplify(wd["I"] // conv.groups)
        kh, kw, ic = conv.axes(wd, inputs)

        def compute(*index: Any) -> Any:
            at = dict(zip(data.letters, index, strict=True))
            y, z = at["H"] + top - kh * dh, at["W"] + left - kw * dw
            ih, iw = tirx.floordiv(y, sh), tirx.floordiv(z, sw)
            group = at["C"] // wd["O"]
            channel = ic if conv.groups == 1 else group * inputs + ic
            conditions = _inside([(ih, xd["H"], True, True), (iw, xd["W"], True, True)])
            conditions += [tirx.floormod(v, s) == 0 for v, s in ((y, sh), (z, sw)) if s > 1]
            value = _guarded(conditions, x(*data.index(N=at["N"], H=ih, W=iw, C=channel)))
            o = at["C"] if conv.groups == 1 else at["C"] - group * wd["O"]
            weight = w(*kernel.index(O=o, H=kh, W=kw, I=channel))
            return te.sum(value * weight, axis=[kh, kw, ic])

        return te.compute(list(call.ty.shape), compute, name="conv2d_transpose", attrs=annotations)

    return bb.call_te(conv2d_transpose, *call.args, primfunc_name_hint="conv2d_transpose")


def broadcast_index(dims: Sequence[Any], index: Sequence[Any]) -> list[Any]:
    """Indices of a broadcast operand's batch dims, aligned to the right; 0 where its dim is 1."""
    tail = index[len(index) - len(dims) :]
    zero = tirx.const(0, "int64")
    return [
        zero if isinstance(d, tirx.IntImm) and d.value == 1 else i
        for d, i in zip(dims, tail, strict=True)
    ]


def _matmul(bb: relax.BlockBuilder, call: Any) -> Any:
    """relax.matmul of float32 or int32 operands of rank two and more, batches broadcast."""
    if not _shape_known(call) or _one_dtype(call) not in _PREFIX:
        return stock_legalization(bb, call)
    if any(len(arg.ty.shape) < 2 for arg in call.args):
        return stock_legalization(bb, call)

    def matmul(a: te.Tensor, b: te.Tensor) -> te.Tensor:
        k = te.reduce_axis((0, a.shape[-1]), name="k")

        def compute(*index: Any) -> Any:
            *batch, m, n = index
            left = a(*broadcast_index(a.shape[:-2], batch), m, k)
            right = b(*broadcast_index(b.shape[:-2], batch), k, n)
            return te.sum(left * right, axis=k)

        return te.compute(
            list(call.ty.shape),
            compute,
            name="matmul",
            attrs={"sod2.anchor": _PREFIX[str(call.ty.dtype)] + "matmul"},
        )

    return bb.call_te(matmul, *call.args, primfunc_name_hint="matmul")


LEGALIZE: dict[str, Legalizer] = {
    "relax.broadcast_to": broadcast_to,
    "relax.nn.pad": pad,
    "relax.nn.conv2d": _conv2d,
    "relax.nn.conv2d_transpose": _conv2d_transpose,
    "relax.matmul": _matmul,
    "relax.gather_elements": gather_elements,
    "relax.logical_not": logical_not,
    "relax.scatter_elements": scatter,
    "relax.scatter_nd": scatter,
    **ARCS,
}
