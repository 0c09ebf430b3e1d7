"""Matrix product of two run-time operands, e.g. both products of attention; any dim symbolic.

Nothing is packed: rows of B are read as vectors where they lie. Column panels have one static
width, and the last one is moved left until it ends at column N, so that no vector leaves its row;
columns covered twice are computed twice to the same value. The width is the largest of a few that N
reaches, chosen at run time where N is symbolic. Tiles are six rows high: with a run-time K, more
row pointers would not fit the scalar registers. One row alone reads more of each row of B at once,
and few columns are dot products, see few_columns.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import tvm
from tvm import tirx

from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.few_columns import COLUMN, TILE, FewColumns
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
from tvm_sod2.schedules.rules import SCRATCH
from tvm_sod2.schedules.traits import Traits

ROWS = 6

Case = tuple[Any, Callable[[], None], str]
"""A condition on the dims, what writes the kernel where it holds, and its name."""


def emit_runtime_matmul(group: Group, traits: Traits) -> Kernel | Refusal:
    """`A[..., M, K] @ B[..., K, N]`, batch dims broadcast."""
    *_, m, n = group.output.shape
    k = group.inputs[0].shape[-1]
    lanes = traits.lanes("float32")
    code = Code()
    few = FewColumns(code, group, traits)
    long = k >= i64(2 * lanes)
    row = Shape(1, 8, lanes)
    wide = [Shape(ROWS, 2, lanes), Shape(ROWS, 1, lanes), Shape(2, 1, max(lanes // 2, 1))]
    cases: list[Case] = [
        (tirx.And(n.equal(i64(1)), long), partial(few.write, *COLUMN), "dots 8x1"),
        (tirx.And(n < i64(lanes), long), partial(few.write, *TILE), "dots"),
        *(
            (condition, partial(_emit_width, code, group, shape, traits), str(shape))
            for condition, shape in (
                (tirx.And(m == i64(1), n >= i64(row.columns)), row),
                *((n >= i64(shape.columns), shape) for shape in wide),
                (None, Shape(2, 1, 1)),
            )
        ),
    ]
    possible = list(_possible(cases))
    scratch = any(name.startswith("dots") for *_, name in possible)
    if scratch:
        code.add(tirx.AllocBuffer(few.turned))
    code.branch([case[:2] for case in possible])
    made = lowered(group.func, group.func.params, code.body())
    tiles = "/".join(name for *_, name in possible)
    return Kernel(made.with_attr(SCRATCH, True) if scratch else made, f"run-time gemm {tiles}")


def _possible(cases: Sequence[Case]) -> Iterator[Case]:
    """Cases that some dims reach, down to one that all do."""
    analyzer = tvm.sym.Analyzer()
    for condition, write, name in cases:
        known = None if condition is None else analyzer.simplify(condition)
        if condition is None or (isinstance(known, tirx.IntImm) and known.value):
            yield None, write, name
            return
        if not isinstance(known, tirx.IntImm):
            yield known, write, name


def _emit_width(code: Code, group: Group, shape: Shape, traits: Traits) -> None:
    """The whole product with panels of one width, which N reaches.

    A task is a block of rows with all panels, or some where there are too few blocks.
    """
    *batch, m, n = group.output.shape
    k = group.inputs[0].shape[-1]
    blocks = EvenBlocks(code, m, shape.rows)
    panels = code.slot((n + i64(shape.columns - 1)) // i64(shape.columns), "panels")
    stripes = code.slot(product(batch) * blocks.count, "stripes")
    enough = i64(4 * traits.cores)
    parts = tirx.max(tirx.min(enough // tirx.max(stripes, i64(1)), panels), i64(1))
    parts = code.slot(parts, "parts")
    work = product([*batch, m, n, k])
    with code.tasks(stripes * parts, "t", work) as t, code.bank():
        part = code.slot(t % parts, "part")
        block = code.slot(t // parts, "block")
        first, rows = blocks.locate(block % blocks.count)
        at = unravel(code, block // blocks.count, batch)
        begin = code.slot(part * panels // parts, "begin")
        end = code.slot((part + i64(1)) * panels // parts, "end")
        with code.loop(end - begin, "panel") as panel:
            start = tirx.min((begin + panel) * i64(shape.columns), n - i64(shape.columns))
            _emit_tile(code, group, shape, at, first, rows, code.slot(start, "start"))


def _emit_tile(
    code: Code, group: Group, shape: Shape, at: list[Any], first: Any, rows: Any, start: Any
) -> None:
    """A panel's columns of a block of rows."""
    a, b = group.inputs
    k = a.shape[-1]
    at_a = broadcast_index(list(a.shape)[:-2], at)
    at_b = broadcast_index(list(b.shape)[:-2], at)

    def versions(vectors: Widths, done: Callable[[Registers], None]) -> None:
        def fill(count: int) -> None:
            # Narrow tiles are for short reductions, which need no chains to wait for.
            chains = (
                None if shape.vectors > 1 else 1 if shape.rows < ROWS else min(2, ROWS // count)
            )
            registers = Registers(code, count, vectors, chains)
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
    # Without an epilogue a store from the registers is no more code than one to the stack.
    steps = int(k) if isinstance(k, tirx.IntImm) else SHORT + 1
    output.write(code, versions, 0 if group.result.same_as(group.output) else steps)
