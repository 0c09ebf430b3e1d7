"""Convolution regions run channels-last, converted once at their borders.

Source: TVM's ConvertLayout, which carries a layout through elementwise operators, pooling, concat
and resize with symbolic sizes; kernels.md has the measurements that chose dense NHWC.
"""

from __future__ import annotations

import tvm
from tvm import relax

from tvm_sod2.passes.fold_constants import fold_constants
from tvm_sod2.passes.inline_leaves import inline_leaves

_DESIRED = {
    "relax.nn.conv2d": ["NHWC", "OHWI"],
    "relax.nn.conv2d_transpose": ["NHWC", "IOHW"],
}


def layout_passes() -> list[tvm.transform.Pass]:
    """Convert convolutions to NHWC; the transposes of weights are computed at build."""
    return [
        relax.transform.ConvertLayout(_DESIRED),
        fold_constants,
        inline_leaves,
    ]
