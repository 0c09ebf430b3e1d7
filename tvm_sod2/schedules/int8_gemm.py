"""Product of bytes with constant int8 weights, exact in 32 bits; 1x1 convolution is the same thing.

The loops and tiles are those of gemm.py, but a step of the reduction takes four bytes. What the
activations' zero point adds, `zero * (sum of the column's weights)`, is known before the reduction:
the sums begin with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.dot import WORD, Dot, DotRegisters, pack_sums, pack_words, sums_of
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.gemm import kernel_matrix, row_index
from tvm_sod2.schedules.kernel import Code, EvenBlocks, Kernel, Refusal, i64, lowered, ramp, splat
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import Output
from tvm_sod2.schedules.panels import Panels, Widths, by_rows, product
from tvm_sod2.schedules.traits import Traits


def emit_int8_matmul(group: Group, traits: Traits) -> Kernel | Refusal:
    """`(A[..., K] - zero) @ B[K, N]` with constant B."""
    a, b = group.inputs
    *batch, k, n = b.shape
    if not group.packable(b):
        return Refusal("the right operand cannot be packed")
    if any(int(d) != 1 for d in batch) or len(a.shape) != len(group.output.shape):
        return Refusal("the right operand has batches")
    return _emit(group, int(k), int(n), traits, lambda w: w.reshape(w.shape[-2:]))


def emit_int8_pointwise(group: Group, traits: Traits) -> Kernel | Refusal:
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


def _pack(matrix: Callable[[np.ndarray], np.ndarray], columns: int, w: np.ndarray) -> np.ndarray:
    """One row of sums, then the words, in each panel."""
    weights = matrix(w)
    sums = weights.sum(0, dtype=np.int32, keepdims=True)
    return np.concatenate([pack_sums(sums, columns), pack_words(weights, columns)], axis=1)


def _emit(
    group: Group, k: int, n: int, traits: Traits, matrix: Callable[[np.ndarray], np.ndarray]
) -> Kernel | Refusal:
    a, b = group.inputs
    if n == 0:
        return Refusal("no output columns")
    if str(a.dtype) not in ("int8", "uint8") or str(b.dtype) != "int8":
        return Refusal(f"operands of {a.dtype} and {b.dtype}")
    dot = Dot(str(a.dtype), traits.dot)
    shape = dot.shape(n, traits)
    panels = Panels(n, shape)
    words = [i64(panels.count), i64(1 - (-k // WORD)), i64(shape.columns * WORD)]
    packed = tirx.decl_buffer(words, "int8", f"{b.name}_packed")
    lead = list(group.output.shape)[:-1]
    zeros = [i64(0)] * (len(lead) - 1)
    linear = group.row_linear()
    code = Code()
    m = product(lead)
    blocks = EvenBlocks(code, m, shape.rows)
    zero = dot.zero(code, group.zero)
    work = m * i64(n) * dot.work(k)
    with code.tasks(blocks.count * i64(panels.count), "t", work) as t, code.bank():
        first, rows = blocks.locate(t // i64(panels.count))
        panel = code.slot(t % i64(panels.count), "panel")

        def start(offset: int, width: int) -> Any:
            return splat(-zero, width) * sums_of(packed, panel, i64(0), offset, width)

        def versions(vectors: Widths, done: Callable[[Registers], None]) -> None:
            def fill(count: int) -> None:
                registers = DotRegisters(code, count, vectors, dot, None if zero is None else start)

                def weight(offset: int, width: int, i: Any) -> Any:
                    return packed[panel, i64(1) + i, ramp(WORD * offset, WORD * width)]

                def data(r: int, i: Any, bytes_: int = WORD) -> Any:
                    return dot.word(a, (*zeros, first + i64(r)), i * i64(WORD), bytes_)

                registers.run(k // WORD, data, weight)
                if k % WORD:
                    last = i64(k // WORD)
                    registers.multiply(
                        lambda r, _offset, width: splat(data(r, last, k % WORD), width),
                        lambda offset, width: weight(offset, width, last),
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
        f"int8 gemm {shape.rows}x{shape.columns} {traits.dot}",
        {group.position(b): partial(_pack, matrix, shape.columns)},
    )
