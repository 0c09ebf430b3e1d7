"""Matrix product with constant weights, and 1x1 convolution, which is the same thing.

Output rows are all leading dims run through as one; M is symbolic and may be 0. Weights are packed
at compile time into panels two vectors wide. One parallel loop runs over (block of rows, panel),
panels inside, so that a block of rows stays in the first-level cache while panels stream by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import (
    Code,
    EvenBlocks,
    Kernel,
    Refusal,
    i64,
    lowered,
    ramp,
    unravel,
)
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import Output
from tvm_sod2.schedules.panels import Panels, Shape, Widths, by_rows, pack_panels, product
from tvm_sod2.schedules.traits import Traits


def emit_matmul(group: Group, traits: Traits) -> Kernel | Refusal:
    """`A[..., K] @ B[K, N]` with constant B."""
    a, b = group.inputs
    *batch, k, n = b.shape
    if not group.packable(b):
        return Refusal("the right operand cannot be packed")
    if any(int(d) != 1 for d in batch) or len(a.shape) != len(group.output.shape):
        return Refusal("the right operand has batches")
    return _emit(group, int(k), int(n), traits, _matrix)


def emit_pointwise(group: Group, traits: Traits) -> Kernel | Refusal:
    """1x1 convolution of stride 1 without padding, channels last, constant weights."""
    attrs = group.attrs
    w = group.inputs[1]
    if not group.packable(w):
        return Refusal("the weights cannot be packed")
    if attrs["data_layout"] != "NHWC" or attrs["groups"] != 1:
        return Refusal("grouped, or not channels-last")
    dims = dict(zip(attrs["kernel_layout"], (int(d) for d in w.shape), strict=True))
    if dims["H"] != 1 or dims["W"] != 1:
        return Refusal("not 1x1")
    if any(s != 1 for s in attrs["strides"]) or any(p != 0 for p in attrs["padding"]):
        return Refusal("1x1, but strided or padded")
    reorder = partial(kernel_matrix, attrs["kernel_layout"])
    return _emit(group, dims["I"], dims["O"], traits, reorder)


def kernel_matrix(layout: str, weight: np.ndarray) -> np.ndarray:
    """A convolution's weights in any layout as a matrix [KH * KW * I, O]."""
    moved = weight.transpose([layout.index(c) for c in "HWIO"])
    return moved.reshape(-1, moved.shape[-1])


def _matrix(weight: np.ndarray) -> np.ndarray:
    return weight.reshape(weight.shape[-2:])


def _pack(matrix: Callable[[np.ndarray], np.ndarray], columns: int, w: np.ndarray) -> np.ndarray:
    return pack_panels(matrix(w), columns)


def _emit(
    group: Group,
    k: int,
    n: int,
    traits: Traits,
    matrix: Callable[[np.ndarray], np.ndarray],
) -> Kernel | Refusal:
    if n == 0:
        return Refusal("no output columns")
    a, b = group.inputs
    shape = Shape.for_columns(n, traits)
    panels = Panels(n, shape)
    packed = tirx.decl_buffer(panels.packed_shape(k), "float32", f"{b.name}_packed")
    lead = list(group.output.shape)[:-1]
    m = product(lead)
    linear = group.row_linear()
    code = Code()
    blocks = EvenBlocks(code, m, shape.rows)
    with code.tasks(blocks.count * i64(panels.count), "t", m * i64(k * n)) as t, code.bank():
        first, rows = blocks.locate(t // i64(panels.count))
        panel = code.slot(t % i64(panels.count), "panel")

        def versions(vectors: Widths, done: Callable[[Registers], None]) -> None:
            def fill(count: int) -> None:
                registers = Registers(code, count, vectors)
                registers.run(
                    k,
                    lambda r, i: a[(*_zeros(lead), first + i64(r), i)],
                    lambda offset, width, i: packed[panel, i, ramp(offset, width)],
                )
                done(registers)

            by_rows(code, rows, shape.rows, fill)

        def at(r: Any) -> Sequence[Any]:
            return row_index(code, first + r, lead, linear)

        output = Output(group, panels, panel, rows, at, panel * i64(shape.columns))
        output.write(code, versions, k)
    params = list(group.func.params)
    params[group.position(b)] = packed
    return Kernel(
        lowered(group.func, params, code.body()),
        f"gemm {shape.rows}x{shape.columns}",
        {group.position(b): partial(_pack, matrix, shape.columns)},
    )


def _zeros(lead: Sequence[Any]) -> list[Any]:
    """Zero for all leading dims but the last, which then takes the row number.

    Buffers are dense, so the row number alone is the right offset, also beyond that dim's size.
    """
    return [i64(0)] * (len(lead) - 1)


def row_index(code: Code, row: Any, lead: Sequence[Any], linear: bool) -> list[Any]:
    """The leading indices of a row: the row number alone where that will do, else taken apart."""
    return [*_zeros(lead), row] if linear else unravel(code, row, lead)
