"""A convolution as emitters read it: constant weights, a window for each axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, Refusal, i64


@dataclass(frozen=True)
class Window:
    """A kernel along one image axis.

    Attributes:
        size, stride, dilation: the kernel's; `before` and `after` its padding. Size and padding may
            be of run time where the stride is 1.
        extent, out: input and output positions along the axis; may be symbolic.
    """

    size: Any
    stride: int
    dilation: int
    before: Any
    after: Any
    extent: Any
    out: Any

    @property
    def reach(self) -> Any:
        """Input positions from the first tap to the last."""
        return (self.size - 1) * self.dilation + 1

    def start(self, out: Any) -> Any:
        """Input position of tap 0 for output position `out`; may be negative."""
        return out * i64(self.stride) - i64(self.before)

    def taps(self, code: Code, start: Any, name: str) -> tuple[Any, Any]:
        """The first tap inside the input, and how many follow inside; never negative."""
        step = i64(self.dilation)
        zero, size = i64(0), i64(self.size)
        first = tirx.min(tirx.max(-start + step - i64(1), zero) // step, size)
        first = code.slot(first, f"{name}_first")
        end = tirx.max(self.extent - start + step - i64(1), zero) // step
        count = tirx.max(tirx.min(end, size) - first, zero)
        return first, code.slot(count, f"{name}_count")

    def interior(self, code: Code, name: str) -> tuple[Any, Any]:
        """Output positions [low, high) whose whole window lies inside the input."""
        low = self.before if self.stride == 1 else -(-self.before // self.stride)
        low = tirx.min(tirx.max(i64(low), i64(0)), self.out)
        low = code.slot(low, f"{name}_low")
        room = self.extent - i64(self.reach - self.before)
        last = tirx.floordiv(room, i64(self.stride))
        return low, code.slot(tirx.max(tirx.min(last + i64(1), self.out), low), f"{name}_high")


@dataclass(frozen=True)
class Convolution:
    """A convolution, or a transposed one, with constant weights.

    Attributes:
        layout: the weights' axes by letter, e.g. "OHWI".
        sizes: the weights' dims by letter.
        images: the images' axes by letter.
        turned: whether the vertical and the horizontal axis have changed places.
    """

    data: Any
    weights: Any
    layout: str
    sizes: Mapping[str, int]
    groups: int
    batch: Any
    vertical: Window
    horizontal: Window
    images: str = "NHWC"
    turned: bool = False

    @property
    def windows(self) -> tuple[Window, Window]:
        return self.vertical, self.horizontal

    @property
    def empty(self) -> bool:
        return 0 in self.sizes.values()

    @property
    def steps(self) -> int:
        """Products that a pixel's sum has."""
        return self.sizes["H"] * self.sizes["W"] * self.sizes["I"]

    @property
    def pixels(self) -> Any:
        """Number of output pixels of the whole batch."""
        return self.batch * self.vertical.out * self.horizontal.out

    def lying(self) -> Convolution:
        """An image one pixel wide as one that is one pixel high; else the same."""
        across = self.horizontal
        if across.size != 1 or not (_is_one(across.extent) and _is_one(across.out)):
            return self
        return replace(self, vertical=across, horizontal=self.vertical, turned=not self.turned)

    @property
    def channels_last(self) -> bool:
        return self.images == "NHWC"

    def place(self, line: Any, pixel: Any) -> tuple[Any, Any]:
        """Image coordinates of a pixel of a line."""
        return (pixel, line) if self.turned else (line, pixel)


def read_convolution(group: Group, images: str = "NHWC") -> Convolution | Refusal:
    """The group's anchor; refuses images of other layouts, and weights that cannot be packed."""
    attrs = group.attrs
    x, w = group.inputs
    if not group.packable(w):
        return Refusal("the weights cannot be packed")
    if attrs["data_layout"] != images:
        return Refusal(f"not {images}")
    layout = str(attrs["kernel_layout"])
    sizes = dict(zip(layout, (int(d) for d in w.shape), strict=True))
    padding = [int(p) for p in attrs["padding"]]
    vertical, horizontal = (
        Window(
            sizes[letter],
            int(attrs["strides"][axis]),
            int(attrs["dilation"][axis]),
            padding[axis],
            padding[axis + 2],
            x.shape[images.index(letter)],
            group.output.shape[images.index(letter)],
        )
        for axis, letter in enumerate("HW")
    )
    groups, batch = int(attrs["groups"]), group.output.shape[0]
    return Convolution(x, w, layout, sizes, groups, batch, vertical, horizontal, images)


def kernel_matrix(layout: str, weight: np.ndarray) -> np.ndarray:
    """A convolution's weights in any layout as a matrix [KH * KW * I, O]."""
    moved = weight.transpose([layout.index(c) for c in "HWIO"])
    return moved.reshape(-1, moved.shape[-1])


def _is_one(dim: Any) -> bool:
    return isinstance(dim, tirx.IntImm) and dim.value == 1
