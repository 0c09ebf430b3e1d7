"""Product of two run-time operands of bytes, exact in 32 bits; any dim symbolic.

The second operand is packed at each call, into words as dot.py takes them: [batch, panels, words,
columns, 4] after a row of the columns' sums, which the zero point multiplies. Rows beyond K are
zeros there. Column panels have one static width, the largest of a few that N reaches, and the last
one is moved left until it ends at column N, as in runtime_gemm.py. Fewer columns than a vector of
four are summed up as 32-bit numbers where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.dot import WORD, Dot, DotRegisters, interleave, unsuited
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import (
    Code,
    EvenBlocks,
    Kernel,
    Refusal,
    i64,
    lowered,
    ramp,
    splat,
    unravel,
)
from tvm_sod2.schedules.legalize import broadcast_index
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import SHORT, Output
from tvm_sod2.schedules.panels import Panels, Shape, Widths, by_rows, product
from tvm_sod2.schedules.rules import SCRATCH
from tvm_sod2.schedules.traits import Traits

ROWS = 6


class _Sums(Registers):
    dtype = "int32"


def emit_int8_runtime_matmul(group: Group, traits: Traits) -> Kernel | Refusal:
    """`(A[..., M, K] - zero) @ B[..., K, N]` of int8 B, batch dims broadcast."""
    a, b = group.inputs
    if (refusal := unsuited(a, b, "int8")) is not None:
        return refusal
    n = group.output.shape[-1]
    dot = Dot(str(a.dtype), traits.dot)
    wide = dot.shape(2 * traits.lanes("int32"), traits)
    shapes = [replace(wide, rows=min(wide.rows, ROWS)), Shape(ROWS, 1, 4)]
    if isinstance(n, tirx.IntImm):
        shapes = [shape for shape in shapes if shape.columns <= int(n)][:1]
    code = Code()
    packed = _packed(group)
    if shapes:
        code.add(tirx.AllocBuffer(packed))
    products = [_Product(code, group, dot, shape, packed, traits.cores) for shape in shapes]
    cases = [(n >= i64(each.shape.columns), each.write) for each in products]
    if not isinstance(n, tirx.IntImm) or not shapes:
        cases.append((None, partial(_write_narrow, code, group)))
    else:
        cases = [(None, products[0].write)]
    code.branch(cases)
    made = lowered(group.func, group.func.params, code.body())
    tiles = "/".join(f"{s.rows}x{s.columns}" for s in [*shapes, Shape(1, 1, 1)][: len(cases)])
    name = f"int8 run-time gemm {tiles} {traits.dot}"
    return Kernel(made.with_attr(SCRATCH, True) if shapes else made, name)


def _packed(group: Group) -> Any:
    """The scratch: panels overlap by less than one, so at most twice the columns are packed."""
    *batch, k, n = group.inputs[1].shape
    rows = k // i64(WORD) + i64(2)
    return tirx.decl_buffer([product(batch) * rows * n * i64(2 * WORD)], "int8", "packed")


@dataclass(frozen=True)
class _Product:
    """The whole product with panels of one width, which N reaches."""

    code: Code
    group: Group
    dot: Dot
    shape: Shape
    packed: Any
    cores: int

    def write(self) -> None:
        """Pack the second operand, then multiply."""
        code, columns = self.code, self.shape.columns
        k, n = self.group.inputs[1].shape[-2:]
        words = code.slot(k // i64(WORD), "words")
        rest = code.slot(k % i64(WORD), "rest")
        panels = code.slot((n + i64(columns - 1)) // i64(columns), "panels")
        size = code.slot((words + i64(2)) * i64(columns * WORD), "size")
        self._pack(words, rest, panels, size)
        self._multiply(words, rest, panels, size)

    def _start(self, panel: Any) -> Any:
        columns = i64(self.shape.columns)
        n = self.group.output.shape[-1]
        return self.code.slot(tirx.min(panel * columns, n - columns), "start")

    def _pack(self, words: Any, rest: Any, panels: Any, size: Any) -> None:
        code, b, shape = self.code, self.group.inputs[1], self.shape
        *batch, k, n = b.shape
        ones = tirx.const(0x01010101, "int32")
        with code.tasks(product(batch) * panels, "p", product([*batch, k, n])) as p, code.bank():
            at = unravel(code, p // panels, batch)
            start, base = self._start(p % panels), code.slot(p * size, "base")
            vectors = [(v * shape.lanes, shape.lanes) for v in range(shape.vectors)]
            sums = {offset: code.register(w, "sum", offset, dtype="int32") for offset, w in vectors}
            for offset, width in vectors:
                code.store(sums[offset], splat(tirx.const(0, "int32"), width), ramp(0, width))

            def word(number: Any, count: int) -> None:
                for offset, width in vectors:
                    where = ramp(start + i64(offset), width)
                    first = number * i64(WORD)
                    parts = [b[(*at, first + i64(row), where)] for row in range(count)]
                    parts += [splat(tirx.const(0, "int8"), width)] * (WORD - count)
                    made = code.register(WORD * width, "word", offset, dtype="int8")
                    lanes = ramp(0, WORD * width)
                    code.store(made, interleave(parts), lanes)
                    row = base + (number + i64(1)) * i64(shape.columns * WORD)
                    place = ramp(row + i64(offset * WORD), WORD * width)
                    code.store(self.packed, made[lanes], place)
                    total = sums[offset][ramp(0, width)]
                    # The instruction sees ones as they are, they are not moved.
                    value = self.dot.accumulate(total, splat(ones, width), made[lanes], width)
                    code.store(sums[offset], value, ramp(0, width))

            with code.loop(words, "w") as w:
                word(w, WORD)
            code.branch(
                [(rest == i64(count), partial(word, words, count)) for count in range(1, WORD)]
            )
            for offset, width in vectors:
                bytes_ = tirx.reinterpret(f"int8x{WORD * width}", sums[offset][ramp(0, width)])
                code.store(self.packed, bytes_, ramp(base + i64(offset * WORD), WORD * width))

    def _multiply(self, words: Any, rest: Any, panels: Any, size: Any) -> None:
        """A task is a block of rows with all panels, or some where there are too few blocks."""
        code, group = self.code, self.group
        a, b = group.inputs
        *batch, m, n = group.output.shape
        blocks = EvenBlocks(code, m, self.shape.rows)
        zero = self.dot.zero(code, group.zero)
        stripes = code.slot(product(batch) * blocks.count, "stripes")
        enough = i64(4 * self.cores)
        parts = tirx.max(tirx.min(enough // tirx.max(stripes, i64(1)), panels), i64(1))
        parts = code.slot(parts, "parts")
        work = product([*batch, m, n]) * (a.shape[-1] // i64(WORD) + i64(1))
        with code.tasks(stripes * parts, "t", work) as t, code.bank():
            part, block = code.slot(t % parts, "part"), code.slot(t // parts, "block")
            first, rows = blocks.locate(block % blocks.count)
            at = unravel(code, block // blocks.count, batch)
            number = _flat(broadcast_index(list(b.shape)[:-2], at), list(b.shape)[:-2])
            operand = code.slot(number * panels * size, "operand")
            begin = code.slot(part * panels // parts, "begin")
            end = code.slot((part + i64(1)) * panels // parts, "end")
            with code.loop(end - begin, "panel") as panel:
                base = code.slot(operand + (begin + panel) * size, "base")
                self._tile(words, rest, base, zero, at, first, rows, self._start(begin + panel))

    def _tile(
        self,
        words: Any,
        rest: Any,
        base: Any,
        zero: Any,
        at: Sequence[Any],
        first: Any,
        rows: Any,
        start: Any,
    ) -> None:
        """Some rows from `first` on times the panel packed at `base`, whose column 0 is `start`."""
        code, group, dot, shape = self.code, self.group, self.dot, self.shape
        a = group.inputs[0]
        k = a.shape[-1]
        at_a = broadcast_index(list(a.shape)[:-2], at)

        def bytes_at(row: Any, offset: int, width: int) -> Any:
            place = base + row * i64(shape.columns * WORD) + i64(offset * WORD)
            return self.packed[ramp(place, WORD * width)]

        def begin(offset: int, width: int) -> Any:
            sums = tirx.reinterpret(f"int32x{width}", bytes_at(i64(0), offset, width))
            return splat(-zero, width) * sums

        def fill(vectors: Widths, done: Callable[[Registers], None], count: int) -> None:
            start_of = None if zero is None else begin
            registers = DotRegisters(code, count, vectors, dot, start_of)

            def data(r: int, i: Any, length: int) -> Any:
                return dot.word(a, (*at_a, first + i64(r)), i * i64(WORD), length)

            def weight(offset: int, width: int, i: Any) -> Any:
                return bytes_at(i + i64(1), offset, width)

            def tail(length: int) -> None:
                registers.multiply(
                    lambda r, _offset, width: splat(data(r, words, length), width),
                    lambda offset, width: weight(offset, width, words),
                )

            registers.run(words, lambda r, i: data(r, i, WORD), weight)
            code.branch([(rest == i64(c), partial(tail, c)) for c in range(1, WORD)])
            done(registers)

        def versions(vectors: Widths, done: Callable[[Registers], None]) -> None:
            by_rows(code, rows, shape.rows, partial(fill, vectors, done))

        def lead(r: Any) -> Sequence[Any]:
            return *at, first + r

        output = Output(group, Panels(shape.columns, shape), i64(0), rows, lead, start)
        output.write(code, versions, int(k) if isinstance(k, tirx.IntImm) else SHORT)


def _write_narrow(code: Code, group: Group) -> None:
    """Element by element."""
    a, b = group.inputs
    *batch, m, n = group.output.shape
    k = a.shape[-1]
    with code.tasks(product([*batch, m]) * n, "t", product([*batch, m, n, k])) as t, code.bank():
        at = unravel(code, t, [*batch, m, n])
        at_a = broadcast_index(list(a.shape)[:-2], at[:-2])
        at_b = broadcast_index(list(b.shape)[:-2], at[:-2])
        zero = tirx.const(0, "int32") if group.zero is None else group.zero
        registers = _Sums(code, 1, (1,))
        registers.run(
            k,
            lambda _r, i: tirx.Cast("int32", a[(*at_a, at[-2], i)]) - zero,
            lambda _offset, _width, i: tirx.Cast("int32", b[(*at_b, i, at[-1])]),
        )
        (_, _, _, total), *_ = registers.totals()
        code.store(group.output, group.stored(total[i64(0)], at), *at)


def _flat(index: Sequence[Any], dims: Sequence[Any]) -> Any:
    """An index's number in row-major order."""
    number: Any = i64(0)
    for i, dim in zip(index, dims, strict=True):
        number = number * dim + i
    return number
