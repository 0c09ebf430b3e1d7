"""One block of query rows of an attention kernel: chunks of keys, a running softmax, the result."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.attention_scratch import CHUNK, FEW, Scratch
from tvm_sod2.schedules.attention_spec import Attention
from tvm_sod2.schedules.exp2 import exp2_of_negative
from tvm_sod2.schedules.kernel import Code, EvenBlocks, f32, i64, ramp, splat
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.panels import Widths, pieces
from tvm_sod2.schedules.transpose import transpose

_LOWEST = -3.4028234663852886e38
_LOG2_E = 1.4426950408889634


class Block:
    """Writes the code for one block of rows with given vectors of rows."""

    def __init__(
        self,
        code: Code,
        attention: Attention,
        layout: Scratch,
        scratch: Any,
        worker: Any,
        batch: list[Any],
        first: Any,
        rows: Any,
        vectors: Widths,
    ) -> None:
        self.code, self.attention, self.layout, self.scratch = code, attention, layout, scratch
        self.worker, self.batch, self.first, self.rows = worker, batch, first, rows
        self.vectors, self.breadth = vectors, sum(vectors)
        self.lines = [(sum(vectors[:v]), width) for v, width in enumerate(vectors)]
        along = attention.k.contiguous(len(batch) + 1)
        self.dots = self.breadth <= FEW and along
        # Without steps the scores are exponents of two from the start; a mask of the lowest
        # number would overflow on the way to one.
        self.exponents = not attention.steps

    def write(self) -> None:
        code, attention = self.code, self.attention
        with code.bank():
            self.maximum, self.total, self.factor = (
                code.buffer(self.breadth, name) for name in ("maximum", "total", "factor")
            )
            self._begin()
            chunks = EvenBlocks(code, attention.keys, CHUNK)
            with code.loop(chunks.count, "chunk") as chunk:
                self.start, self.count = chunks.locate(chunk)
                if self.dots:
                    with code.loop(self.count, "j") as j, code.loop(self.rows, "r") as r:
                        self._dot(j, r)
                else:
                    self._by_height(self.count, self._tile)
                self._softmax()
                lanes, whole = self.layout.lanes, self.layout.whole
                with code.loop(whole, "panel") as panel:
                    panel = code.slot(panel * i64(2 * lanes), "column")
                    whole_panel = partial(self._products, panel, (lanes, lanes), self.count)
                    self._by_height(self.rows, whole_panel)
                if self.layout.tail:
                    self._tail(2 * lanes * whole)
            self._finish()

    def _begin(self) -> None:
        """Pack the queries; a lane beyond the rows repeats the last one."""
        code, attention = self.code, self.attention
        scale = f32(attention.scale * (_LOG2_E if self.exponents else 1.0))
        squares = 0
        if not self.dots and attention.q.contiguous(len(self.batch) + 1):
            squares = attention.depth // self.vectors[0]
            for at, width in self.lines:
                with code.loop(squares, "square") as square:
                    self._square(at, width, code.slot(square * i64(width), "c"), scale)
        done = squares * self.vectors[0]
        with code.loop(self.breadth, "lane") as lane:
            row = code.slot(self._row(lane), "row")
            with code.loop(attention.depth - done, "c", start=done) as c:
                value = attention.q.at([*self.batch, row, c]) * scale
                self._put(value, self._query_at(lane, c))
        for at, width in self.lines:
            code.store(self.maximum, splat(f32(_LOWEST), width), ramp(at, width))
            code.store(self.total, splat(f32(0.0), width), ramp(at, width))
        with code.loop(self.rows, "r") as r, code.loop(self.layout.stride, "c") as c:
            self._put(f32(0.0), self._result_at(r, c))

    def _square(self, start: Any, width: int, column: Any, scale: Any) -> None:
        """Pack as many columns of a vector of rows as it has lanes."""
        rows = [self.code.register(width, "square", n) for n in range(width)]
        for n, register in enumerate(rows):
            row = self.code.slot(self._row(i64(start + n)), "row")
            vector = self.attention.q.at([*self.batch, row, column], width)
            self.code.store(register, vector * splat(scale, width), ramp(0, width))
        transpose(self.code, rows)
        for n, register in enumerate(rows):
            place = self._query_at(i64(start), column + i64(n))
            self._put(register[ramp(0, width)], place, width)

    def _tile(self, first: Any, count: int) -> None:
        """The scores of some keys with all rows."""
        attention = self.attention
        registers = Registers(self.code, count, self.vectors)
        registers.run(
            attention.depth,
            lambda r, c: attention.k.at([*self.batch, self.start + first + i64(r), c]),
            lambda offset, width, c: self._get(self._query_at(i64(offset), c), width),
        )
        for r, offset, width, total in registers.totals():
            place = self._score_at(first + i64(r), i64(offset))
            self._put(total[ramp(0, width)], place, width)

    def _dot(self, j: Any, r: Any) -> None:
        """The score of one key and one row, along the columns."""
        lanes = self.layout.lanes
        whole, rest = divmod(self.attention.depth, lanes)

        def term(at: Any, width: int) -> Any:
            key = self.attention.k.at([*self.batch, self.start + j, at], width)
            return self._get(self._query_at(r, at), width) * key

        value: Any = f32(0.0)
        if whole:
            total = self.code.register(lanes, "dot")
            self.code.store(total, splat(f32(0.0), lanes), ramp(0, lanes))
            with self.code.loop(whole, "vector") as vector:
                sum_ = total[ramp(0, lanes)] + term(vector * i64(lanes), lanes)
                self.code.store(total, sum_, ramp(0, lanes))
            value = self._across(total[ramp(0, lanes)], lanes)
        for at, width in pieces(rest, lanes):
            value = value + self._across(term(i64(whole * lanes + at), width), width)
        self._put(value, self._score_at(j, r))

    def _across(self, vector: Any, width: int) -> Any:
        """The sum of a vector's lanes, by halves."""
        if width == 1:
            return vector
        register = self.code.register(width, "across", width)
        self.code.store(register, vector, ramp(0, width))
        for half in (width >> n for n in range(1, width.bit_length())):
            halves = register[ramp(0, half)] + register[ramp(half, half)]
            register = self.code.register(half, "half", width)
            self.code.store(register, halves, ramp(0, half))
        return register[i64(0)]

    def _softmax(self) -> None:
        """Powers of the chunk's scores; new maxima, sums and the factor for older results."""
        code = self.code
        tops = [code.register(width, "top", at) for at, width in self.lines]
        sums = [code.register(width, "powers", at) for at, width in self.lines]
        for top, (at, width) in zip(tops, self.lines, strict=True):
            code.store(top, self.maximum[ramp(at, width)], ramp(0, width))
        with code.loop(self.count, "j") as j:
            for top, (at, width) in zip(tops, self.lines, strict=True):
                with code.vector(width) as lane:
                    place = self._score_at(j, i64(at) + lane)
                    if self.attention.steps:
                        index = [*self.batch, self._row(i64(at) + lane), self.start + j]
                        value = self._get(place)
                        for step in self.attention.steps:
                            value = step(value, index)
                        self._put(value, place)
                    code.store(top, tirx.max(top[lane], self._get(place)), lane)
        for top, total, (at, width) in zip(tops, sums, self.lines, strict=True):
            with code.vector(width) as lane:
                place = i64(at) + lane
                factor = self._power(self.maximum[place] - top[lane], width, lane)
                code.store(self.factor, factor, place)
                code.store(self.maximum, top[lane], place)
                code.store(total, f32(0.0), lane)
        with code.loop(self.count, "j") as j:
            for top, total, (at, width) in zip(tops, sums, self.lines, strict=True):
                with code.vector(width) as lane:
                    place = self._score_at(j, i64(at) + lane)
                    power = code.register(width, "power")
                    code.store(power, self._power(self._get(place) - top[lane], width, lane), lane)
                    self._put(power[lane], place)
                    code.store(total, total[lane] + power[lane], lane)
        for total, (at, width) in zip(sums, self.lines, strict=True):
            with code.vector(width) as lane:
                place = i64(at) + lane
                code.store(self.total, self.total[place] * self.factor[place] + total[lane], place)

    def _power(self, x: Any, width: int, lane: Any) -> Any:
        """The power of a difference x <= 0 of scores."""
        x = x if self.exponents else x * f32(_LOG2_E)
        return exp2_of_negative(self.code, x, width, lane)

    def _products(self, column: Any, vectors: Widths, keys: Any, first: Any, count: int) -> None:
        """Add what the chunk's first keys give to some rows and columns of the result."""
        registers = Registers(self.code, count, vectors)
        registers.run(
            keys,
            lambda r, j: self._get(self._score_at(j, first + i64(r))),
            lambda offset, width, j: self._value(j, column + i64(offset), width),
        )
        for r, offset, width, total in registers.totals():
            row = first + i64(r)
            place = self._result_at(row, column + i64(offset))
            old = self._get(place, width) * splat(self.factor[row], width)
            self._put(old + total[ramp(0, width)], place, width)

    def _tail(self, column: int) -> None:
        """The same for the columns behind the whole panels.

        A vector that reaches beyond the columns would leave the tensor at the last key, which is
        therefore added alone.
        """
        code, vectors = self.code, self.layout.tail
        exact = self.layout.stride == self.layout.width
        keys = self.count if exact else self.count - i64(1)
        self._by_height(self.rows, partial(self._products, i64(column), vectors, keys))
        if exact:
            return
        last = code.slot(keys, "last")
        with code.loop(self.rows, "r") as r:
            for at, width in pieces(self.layout.width - column, self.layout.lanes):
                term = splat(self._get(self._score_at(last, r)), width)
                place = self._result_at(r, i64(column + at))
                value = term * self._value(last, i64(column + at), width)
                self._put(self._get(place, width) + value, place, width)

    def _value(self, j: Any, column: Any, width: int) -> Any:
        return self.attention.v.at([*self.batch, self.start + j, column], width)

    def _finish(self) -> None:
        code, attention = self.code, self.attention
        for at, width in self.lines:
            with code.vector(width) as lane:
                # No key at all gives zeros, as an empty sum does.
                some = tirx.Select(attention.keys > i64(0), self.total[i64(at) + lane], f32(1.0))
                code.store(self.factor, f32(1.0) / some, i64(at) + lane)
        lanes = self.layout.lanes
        vectors, rest = divmod(attention.width, lanes)
        with code.loop(self.rows, "r") as r:
            with code.loop(vectors, "vector") as vector, code.vector(lanes) as lane:
                self._write(r, vector * i64(lanes) + lane)
            for at, width in pieces(rest, lanes):
                with code.vector(width) as lane:
                    self._write(r, i64(vectors * lanes + at) + lane)

    def _write(self, r: Any, column: Any) -> None:
        attention = self.attention
        index = [*self.batch, self.first + r, column]
        value = self._get(self._result_at(r, column)) * self.factor[r]
        if attention.emptied is not None:
            value = tirx.Select(attention.emptied(index), f32(0.0), value)
        target = attention.result.at(index)
        self.code.store(target.source, value, *target.indices)

    def _by_height(self, total: Any, write: Callable[[Any, int], None]) -> None:
        """Tiles of full height, then of less, then single rows, with a version for each."""
        code = self.code
        most = self.layout.shape.rows
        done: Any = i64(0)
        for height in dict.fromkeys((most, max(most // 3, 1), 1)):
            if total is self.rows and height > self.breadth:
                continue
            tiles = code.slot((total - done) // i64(height), "tiles")
            with code.loop(tiles, "tile") as tile:
                write(code.slot(done + tile * i64(height), "begin"), height)
            done = code.slot(done + tiles * i64(height), "done")

    def _row(self, lane: Any) -> Any:
        return self.first + tirx.min(lane, self.rows - i64(1))

    def _query_at(self, lane: Any, c: Any) -> Any:
        if self.dots:
            return lane * i64(self.attention.depth) + c
        return c * i64(self.breadth) + lane

    def _score_at(self, j: Any, lane: Any) -> Any:
        return i64(self.layout.scores) + j * i64(self.breadth) + lane

    def _result_at(self, row: Any, column: Any) -> Any:
        return i64(self.layout.result) + row * i64(self.layout.stride) + column

    def _get(self, at: Any, width: int = 1) -> Any:
        return self.scratch[self.worker, ramp(at, width)]

    def _put(self, value: Any, at: Any, width: int = 1) -> None:
        self.code.store(self.scratch, value, self.worker, ramp(at, width))
