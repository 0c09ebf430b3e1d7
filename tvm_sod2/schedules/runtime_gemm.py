"""Matrix product of two run-time operands, e.g. both products of attention; any dim symbolic.

Nothing is packed: rows of B are read as vectors where they lie. Column panels have one static
width, and the last one is moved left until it ends at column N, so that no vector leaves its row;
columns covered twice are computed twice to the same value. The width is the largest of a few that N
reaches, chosen at run time where N is symbolic. Tiles are six rows high: with a run-time K, more
row pointers would not fit the scalar registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

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
from tvm_sod2.schedules.legalize import broadcast_index
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import SHORT, Output
from tvm_sod2.schedules.panels import Panels, Shape, Widths, by_rows, product
from tvm_sod2.schedules.traits import Traits

ROWS = 6


def emit_runtime_matmul(group: Group, traits: Traits) -> Kernel | Refusal:
    """`A[..., M, K] @ B[..., K, N]`, batch dims broadcast."""
    n = group.output.shape[-1]
    lanes = traits.lanes("float32")
    widths = [Shape(ROWS, 2, lanes), Shape(ROWS, 1, max(lanes // 2, 1)), Shape(ROWS, 1, 1)]
    if isinstance(n, tirx.IntImm):
        widths.insert(1, Shape(ROWS, 1, lanes))
        fitting = [s for s in widths if s.columns <= max(int(n), 1)]
        widths = fitting[:1]
    code = Code()
    write = [partial(_emit_width, code, group, shape) for shape in widths]
    *wide, last = list(zip(widths, write, strict=True))
    code.branch([*((n >= i64(shape.columns), w) for shape, w in wide), (None, last[1])])
    tiles = "/".join(f"{s.rows}x{s.columns}" for s in widths)
    return Kernel(lowered(group.func, group.func.params, code.body()), f"run-time gemm {tiles}")


def _emit_width(code: Code, group: Group, shape: Shape) -> None:
    """The whole product with panels of one width, which N reaches."""
    a, b = group.inputs
    *batch, m, n = group.output.shape
    k = a.shape[-1]
    blocks = EvenBlocks(code, m, shape.rows)
    panels = (n + i64(shape.columns - 1)) // i64(shape.columns)
    work = product([*batch, m, n, k])
    with code.tasks(product(batch) * blocks.count * panels, "t", work) as t, code.bank():
        start = code.slot(
            tirx.min(t % panels * i64(shape.columns), n - i64(shape.columns)), "start"
        )
        block = code.slot(t // panels, "block")
        first, rows = blocks.locate(block % blocks.count)
        at = unravel(code, block // blocks.count, batch)
        at_a = broadcast_index(list(a.shape)[:-2], at)
        at_b = broadcast_index(list(b.shape)[:-2], at)

        def versions(vectors: Widths, done: Callable[[Registers], None]) -> None:
            def fill(count: int) -> None:
                registers = Registers(code, count, vectors)
                registers.run(
                    int(k) if isinstance(k, tirx.IntImm) else k,
                    lambda r, i: a[(*at_a, first + i64(r), i)],
                    lambda offset, size, i: b[(*at_b, i, ramp(start + i64(offset), size))],
                )
                done(registers)

            by_rows(code, rows, shape.rows, fill)

        def lead(r: Any) -> Sequence[Any]:
            return *at, first + r

        # One whole panel, wherever it starts.
        output = Output(group, Panels(shape.columns, shape), i64(0), rows, lead, start)
        output.write(code, versions, int(k) if isinstance(k, tirx.IntImm) else SHORT + 1)
