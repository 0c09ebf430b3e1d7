"""Matrix product of two run-time operands, e.g. both products of attention; any dim symbolic.

Either operand may lie transposed, and nothing is copied as a whole. There are several kernels, of
which the dims choose one at run time:

- Tiles read rows of B as vectors where they lie. Column panels have one static width, and the last
  one is moved left until it ends at column N, so that no vector leaves its row; columns covered
  twice are computed twice to the same value. The width is the largest of a few that N reaches.
  Tiles are up to six rows high: with a run-time K, more row pointers would not fit the scalar
  registers. Where registers allow, four rows of four vectors: a short K is bound by the stores,
  which want long rows. One row alone times much of B is in row_stream.py.
- Where many rows share a panel, or B lies transposed, panels are packed, see packed_product.py.
- Where there are few columns, a row of the result is a short vector, see narrow_product.py, or, if
  K is long, rows of A times columns of B are dot products along K, see dot_tiles.py.
- The transpose of a product is a product, too: `B^T A^T` has vectors along the rows of a transposed
  A, and dot products with the rows of a transposed B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import tvm
from tvm import tirx
from tvm.tirx import Stmt
from tvm_ffi import structural_map

from tvm_sod2.schedules.dot_tiles import ACROSS, DotTiles
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.grain import READ
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
from tvm_sod2.schedules.narrow_product import NarrowProduct
from tvm_sod2.schedules.operands import Operand, Product
from tvm_sod2.schedules.output import Output
from tvm_sod2.schedules.packed_product import MANY, ROWS, PackedProduct, steps
from tvm_sod2.schedules.panels import Panels, Shape, Widths, by_rows, product
from tvm_sod2.schedules.row_stream import RowStream
from tvm_sod2.schedules.rules import SCRATCH
from tvm_sod2.schedules.traits import Traits

Case = tuple[Any, Callable[[], None], str, Any]
"""A condition on the dims, what writes the kernel where it holds, its name and its scratch."""

STEPS = 20
"""Steps of the reduction for each row from which on dot products take less time than packing.

To add up the lanes of a tile of 4x4 takes 100 cycles; to transpose, 5 for each vector and step.
"""


LONG = 256, 1024
"""Rows and columns of a matrix from which on a single row times it is bound by memory."""


def emit_runtime_matmul(group: Group, traits: Traits) -> Kernel | Refusal:
    """`A[..., M, K] @ B[..., K, N]`, batch dims broadcast."""
    code = Code()
    factors = Product.of(group)
    possible = list(_possible(_cases(code, factors, traits)))
    scratches = {scratch for *_, scratch in possible if scratch is not None}
    code.branch([case[:2] for case in possible])
    body = _with_one_scratch(code.body(), scratches) if scratches else code.body()
    made = lowered(group.func, group.func.params, body)
    names = "/".join(name for _, _, name, _ in possible)
    turned = "".join(letter for letter, is_ in zip("AB", group.turned, strict=True) if is_)
    name = f"run-time gemm {names}{f' of transposed {turned}' if turned else ''}"
    return Kernel(made.with_attr(SCRATCH, True) if scratches else made, name)


def _with_one_scratch(body: Stmt, scratches: Set[tirx.Var]) -> Stmt:
    """The body with one buffer in the place of several, of which it needs one at a time."""
    sizes = [scratch.ty.shape[0] for scratch in scratches]
    size = tvm.sym.Analyzer().simplify(reduce(tirx.max, sizes))
    shared = tirx.decl_buffer([size], "float32", "scratch")
    body = structural_map(body, [(tirx.Var, lambda var: shared if var in scratches else var)])
    return tirx.SeqStmt([tirx.AllocBuffer(shared), body])


def _cases(code: Code, factors: Product, traits: Traits) -> Iterator[Case]:
    """All kernels that the operands' layouts allow; the first whose condition holds is taken."""
    m, n, k = factors.m, factors.n, factors.k
    lanes = traits.lanes("float32")
    long = k >= i64(2 * lanes)
    other = factors.swapped()
    broad = Shape(4, 4, lanes) if traits.vector_registers >= 32 else Shape(ROWS, 2, lanes)
    row, wide = Shape(1, 8, lanes), [broad, Shape(ROWS, 1, lanes)]

    def tiles(condition: Any, sides: Product, shape: Shape) -> Case:
        name = f"{shape}{' across' if sides.crossed else ''}"
        return condition, partial(_emit_width, code, sides, shape, traits), name, None

    def dots(condition: Any, sides: Product) -> Case:
        made = DotTiles(code, sides, lanes, traits)
        return condition, made.write, f"dots{' across' if sides.crossed else ''}", made.scratch

    def one(sides: Product) -> Case:
        """The one column of `sides`, whose rows are contiguous, as dot products."""
        # Half vectors are as fast where memory binds, and their lanes are sooner added up.
        half = max(lanes // 2, 4)
        made = DotTiles(code, sides, half, traits, one=True)
        reached = tirx.And(sides.n.equal(i64(1)), k >= i64(half))
        return reached, made.write, f"dots of one{' across' if sides.crossed else ''}", None

    def narrow(sides: Product) -> Iterator[Case]:
        """In vectors of two lengths; only one column may be crossed."""
        made, half = NarrowProduct(code, sides, traits), lanes // 2
        if sides.crossed:
            yield sides.n <= i64(1), partial(made.write, half), "narrow across", made.scratch
            return
        for length, reached in ((half, sides.n <= i64(half)), (lanes, None)):
            yield reached, partial(made.write, length), f"narrow {length}", made.scratch

    if not factors.a.turned:
        yield one(factors)
        reached = tirx.And(n < i64(lanes), long)
        yield dots(tirx.And(reached, _less_as_dots(factors, lanes)), factors)
    else:
        few = n < i64(lanes)
        yield tiles(tirx.And(n.equal(i64(1)), m >= i64(row.columns)), other, row)
        for shape in (*wide, Shape(ROWS, 1, max(lanes // 4, 1))):
            yield tiles(tirx.And(few, m >= i64(shape.columns)), other, shape)
    packed = PackedProduct(code, factors, traits, not factors.b.turned)
    if factors.b.turned:
        # A matrix of one column lies as one of one row does.
        same = replace(factors, b=Operand(factors.b.buffer, False))
        yield tiles(tirx.And(k.equal(i64(1)), n >= i64(broad.columns)), same, broad)
        yield one(other)
        yield from narrow(other)
        if not factors.a.turned:
            enough = tirx.And(k >= i64(STEPS) * m, long)
            yield dots(tirx.And(m < i64(lanes), enough), other)
        yield n >= i64(lanes), packed.write, packed.name, packed.scratch
    else:
        made = RowStream(code, factors, traits)
        reached = tirx.And(m.equal(i64(1)), tirx.And(n >= i64(LONG[1]), k >= i64(LONG[0])))
        yield reached, made.write, "row", made.scratch
        yield tiles(tirx.And(m.equal(i64(1)), n >= i64(row.columns)), factors, row)
        # Short sums are bound by the stores, which want whole rows.
        enough = tirx.And(tirx.And(m >= i64(MANY), n >= i64(2 * lanes)), long)
        yield enough, packed.write, packed.name, packed.scratch
        for shape in wide:
            yield tiles(n >= i64(shape.columns), factors, shape)
    yield from narrow(factors)


def _less_as_dots(factors: Product, lanes: int) -> Any:
    """Whether dot products take less time than a short vector for each row and step.

    Half a vector takes half of the time where the machine splits whole ones. To pack a transposed
    B for that takes few rows as long as the product itself.
    """
    m, n, k = factors.m, factors.n, factors.k
    each = tirx.Select(n <= i64(lanes // 2), i64(lanes // 2), i64(lanes))
    less = n * (k + i64(ACROSS)) < k * each
    return tirx.Or(less, m < i64(lanes)) if factors.b.turned else less


def _possible(cases: Iterator[Case]) -> Iterator[Case]:
    """Cases that some dims reach, down to one that all do."""
    analyzer = tvm.sym.Analyzer()
    for condition, *rest in cases:
        known = None if condition is None else analyzer.simplify(condition)
        if condition is None or (isinstance(known, tirx.IntImm) and known.value):
            yield None, *rest
            return
        if not isinstance(known, tirx.IntImm):
            yield known, *rest


def _emit_width(code: Code, factors: Product, shape: Shape, traits: Traits) -> None:
    """The whole product with panels of one width, which N reaches.

    A task is a block of rows with all panels, or some where there are too few blocks.
    """
    batch, m, n, k = factors.batch, factors.m, factors.n, factors.k
    blocks = EvenBlocks(code, m, shape.rows)
    panels = code.slot((n + i64(shape.columns - 1)) // i64(shape.columns), "panels")
    stripes = code.slot(product(batch) * blocks.count, "stripes")
    enough = i64(4 * traits.cores)
    parts = tirx.max(tirx.min(enough // tirx.max(stripes, i64(1)), panels), i64(1))
    parts = code.slot(parts, "parts")
    work = product([*batch, m, n, k]) * tirx.Select(m.equal(i64(1)), i64(READ), i64(1))
    with code.tasks(stripes * parts, "t", work) as t, code.bank():
        part = code.slot(t % parts, "part")
        block = code.slot(t // parts, "block")
        first, rows = blocks.locate(block % blocks.count)
        at = unravel(code, block // blocks.count, batch)
        begin = code.slot(part * panels // parts, "begin")
        end = code.slot((part + i64(1)) * panels // parts, "end")
        with code.loop(end - begin, "panel") as panel:
            start = tirx.min((begin + panel) * i64(shape.columns), n - i64(shape.columns))
            _emit_tile(code, factors, shape, at, first, rows, code.slot(start, "start"))


def _emit_tile(
    code: Code, factors: Product, shape: Shape, at: list[Any], first: Any, rows: Any, start: Any
) -> None:
    """A panel's columns of a block of rows."""
    k = factors.k

    def versions(vectors: Widths, done: Callable[[Registers], None]) -> None:
        def fill(count: int) -> None:
            # Narrow tiles are for short reductions, which need no chains to wait for.
            chains = (
                None if shape.vectors > 1 else 1 if shape.rows < ROWS else min(2, ROWS // count)
            )
            registers = Registers(code, count, vectors, chains)
            registers.run(
                int(k) if isinstance(k, tirx.IntImm) else k,
                lambda r, i: factors.a.at(at, first + i64(r), i),
                lambda offset, size, i: factors.b.at(at, i, ramp(start + i64(offset), size)),
            )
            done(registers)

        by_rows(code, rows, shape.rows, fill)

    def lead(r: Any) -> Sequence[Any]:
        return *at, first + r

    # One whole panel, wherever it starts.
    panels = Panels(shape.columns, shape)
    output = Output(factors.group, panels, i64(0), rows, lead, start, factors.crossed)
    output.write(code, versions, steps(factors))
