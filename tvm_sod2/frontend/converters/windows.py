"""What convolution and pooling share: a window that slides over the spatial axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.relax import Expr

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Dim
from tvm_sod2.frontend.converters.pad import pad_constant
from tvm_sod2.frontend.dims import ceildiv, maximum, simplify


@dataclass
class Window:
    """Sizes of a sliding window over ``x`` of layout N, C, spatial axes...

    ``pads`` are what is left to the operator: all begins, then all ends, as ONNX and Relax order
    them. Where auto_pad depends on a symbolic dim, ``x`` has been padded already and
    ``explicit`` holds those pads.
    """

    x: Expr
    kernel: list[Dim]
    strides: list[int]
    dilations: list[int]
    pads: list[int]
    explicit: list[Dim] | None = None


def window(c: Context, x: Expr, kernel: list[Dim], attrs: dict[str, Any], fill: float) -> Window:
    """Return the window of a node; ``fill`` is what padding by auto_pad is made of."""
    spatial = c.rank(x) - 2
    if spatial not in (1, 2, 3) or len(kernel) != spatial:
        raise c.error(
            f"a window of {len(kernel)} axes over an input of rank {c.rank(x)}; 1 to 3 spatial "
            "axes are supported"
        )
    strides = list(attrs.get("strides") or [1] * spatial)
    dilations = list(attrs.get("dilations") or [1] * spatial)
    pads = list(attrs.get("pads") or [0] * (2 * spatial))
    for key, values, count in (
        ("strides", strides, spatial),
        ("dilations", dilations, spatial),
        ("pads", pads, 2 * spatial),
    ):
        if len(values) != count:
            raise c.error(f"attribute {key!r} has {len(values)} entries, {count} are expected")
    result = Window(x, list(kernel), strides, dilations, pads)
    auto = attrs.get("auto_pad", "NOTSET")
    if auto == "VALID":
        result.pads = [0] * (2 * spatial)
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        _pad_same(c, result, fill, auto == "SAME_UPPER")
    return result


def _pad_same(c: Context, w: Window, fill: float, upper: bool) -> None:
    """Pad so that the output has ceil(input / stride) elements along each spatial axis."""
    before: list[Dim] = []
    after: list[Dim] = []
    for axis, (k, s, d) in enumerate(zip(w.kernel, w.strides, w.dilations, strict=True)):
        size, span = c.dims(w.x)[2 + axis], simplify((k - 1) * d + 1)
        total = span - 1 if s == 1 else maximum((ceildiv(size, s) - 1) * s + span - size, 0)
        less = total // 2 if isinstance(total, int) else simplify(total // 2)
        more = simplify(total - less)
        before.append(less if upper else more)
        after.append(more if upper else less)
    if all(isinstance(pad, int) for pad in before + after):
        w.pads = before + after
        return
    w.explicit = before + after
    w.pads = [0] * len(w.explicit)
    value = const(fill, c.dtype(w.x))
    w.x = pad_constant(c, w.x, [0, 0, *before], [0, 0, *after], value)
