"""Product of bytes with constant int8 weights, exact in 32 bits; 1x1 convolution is the same thing.

The loops are those of matrix_rows.py, but a step of the reduction takes four bytes. What the
activations' zero point adds, `zero * (sum of the column's weights)`, is known before the reduction:
the sums begin with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.dot import WORD, Dot, DotRegisters, pack_sums, pack_words, sums_of, unsuited
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, Kernel, Refusal, i64, ramp, splat
from tvm_sod2.schedules.matrix_rows import Product, RowBlocks, read_matmul, read_pointwise
from tvm_sod2.schedules.panels import Panels, Widths
from tvm_sod2.schedules.traits import Traits


def emit_int8_matmul(group: Group, traits: Traits) -> Kernel | Refusal:
    """`(A[..., K] - zero) @ B[K, N]` with constant B."""
    return _emit(group, read_matmul(group), traits)


def emit_int8_pointwise(group: Group, traits: Traits) -> Kernel | Refusal:
    """1x1 convolution of stride 1 without padding, channels last, constant weights."""
    return _emit(group, read_pointwise(group), traits)


def _emit(group: Group, read: Product | Refusal, traits: Traits) -> Kernel | Refusal:
    if isinstance(read, Refusal):
        return read
    a, b = group.inputs
    if (refusal := unsuited(a, b, "int8")) is not None:
        return refusal
    dot = Dot(str(a.dtype), traits.dot)
    shape = dot.shape(read.n, traits)
    panels = Panels(read.n, shape)
    words = [i64(panels.count), i64(1 - (-read.k // WORD)), i64(shape.columns * WORD)]
    packed = tirx.decl_buffer(words, "int8", f"{b.name}_packed")
    code = Code()
    rows = RowBlocks(code, group, panels, packed, traits)
    zero = dot.zero(code, group.zero)

    def sums(
        count: int, vectors: Widths, row: Callable[[int], Sequence[Any]], panel: Any
    ) -> DotRegisters:
        def start(offset: int, width: int) -> Any:
            return splat(-zero, width) * sums_of(packed, panel, i64(0), offset, width)

        registers = DotRegisters(code, count, vectors, dot, None if zero is None else start)
        registers.run_bytes(
            read.k,
            lambda r, i, bytes_: dot.word(a, row(r), i * i64(WORD), bytes_),
            lambda offset, width, i: packed[panel, i64(1) + i, ramp(WORD * offset, WORD * width)],
        )
        return registers

    rows.write(rows.count * i64(read.n) * dot.work(read.k), read.k, sums)
    return group.emitted(
        code,
        f"int8 gemm {shape.rows}x{shape.columns} {traits.dot}",
        b,
        packed,
        partial(_pack, read.matrix, shape.columns),
    )


def _pack(matrix: Callable[[np.ndarray], np.ndarray], columns: int, w: np.ndarray) -> np.ndarray:
    """One row of sums, then the words, in each panel."""
    weights = matrix(w)
    sums = weights.sum(0, dtype=np.int32, keepdims=True)
    return np.concatenate([pack_sums(sums, columns), pack_words(weights, columns)], axis=1)
