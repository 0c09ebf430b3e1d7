"""What the zero point of padded bytes adds to a convolution's sums.

Padding means 0 where bytes mean their value less the zero point. Taps outside the image are
skipped, so the sums begin with `-zero * (weights of the taps inside)`, from sums packed along KW.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.kernel import ramp, splat
from tvm_sod2.schedules.panels import Widths
from tvm_sod2.schedules.strips import Strip


def start_of_sums(
    strip: Strip, zero: Any, vectors: Widths, weights: Callable[[Any, int, int], Any]
) -> Callable[[int, int], Any] | None:
    """What `Registers` start with, None for zeros.

    zero: the int32 that means 0, None for 0.
    weights: the sum of the weights at (kernel row, offset, width) over the row's taps inside.
    """
    if zero is None:
        return None
    code = strip.code
    starts: dict[int, Any] = {}
    for v, size in enumerate(vectors):
        offset = sum(vectors[:v])
        starts[offset] = code.register(size, "start", offset, dtype="int32")
        code.store(starts[offset], splat(tirx.const(0, "int32"), size), ramp(0, size))
    with strip.each_kernel_row() as kh:
        for (offset, start), size in zip(starts.items(), vectors, strict=True):
            lanes = ramp(0, size)
            added = splat(zero, size) * weights(kh, offset, size)
            code.store(start, start[lanes] - added, lanes)
    return lambda offset, size: starts[offset][ramp(0, size)]
