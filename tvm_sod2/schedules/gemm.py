"""Matrix product with constant weights, and 1x1 convolution, which is the same thing.

The loops are those of matrix_rows.py; weights are packed at compile time into panels two vectors
wide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, Kernel, Refusal, i64, ramp
from tvm_sod2.schedules.matrix_rows import Product, RowBlocks, read_matmul, read_pointwise
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.panels import Panels, Shape, Widths, pack_panels
from tvm_sod2.schedules.traits import Traits


def emit_matmul(group: Group, traits: Traits) -> Kernel | Refusal:
    """`A[..., K] @ B[K, N]` with constant B."""
    return _emit(group, read_matmul(group), traits)


def emit_pointwise(group: Group, traits: Traits) -> Kernel | Refusal:
    """1x1 convolution of stride 1 without padding, channels last, constant weights."""
    return _emit(group, read_pointwise(group), traits)


def _emit(group: Group, read: Product | Refusal, traits: Traits) -> Kernel | Refusal:
    if isinstance(read, Refusal):
        return read
    a, b = group.inputs
    shape = Shape.for_columns(read.n, traits)
    panels = Panels(read.n, shape)
    packed = tirx.decl_buffer(panels.packed_shape(read.k), "float32", f"{b.name}_packed")
    code = Code()
    rows = RowBlocks(code, group, panels, packed, traits)

    def sums(
        count: int, vectors: Widths, row: Callable[[int], Sequence[Any]], panel: Any
    ) -> Registers:
        registers = Registers(code, count, vectors)
        registers.run(
            read.k,
            lambda r, i: a[(*row(r), i)],
            lambda offset, width, i: packed[panel, i, ramp(offset, width)],
        )
        return registers

    rows.write(rows.count * i64(read.k * read.n), read.k, sums)
    return group.emitted(
        code,
        f"gemm {shape.rows}x{shape.columns}",
        b,
        packed,
        partial(_pack, read.matrix, shape.columns),
    )


def _pack(matrix: Callable[[np.ndarray], np.ndarray], columns: int, w: np.ndarray) -> np.ndarray:
    return pack_panels(matrix(w), columns)
