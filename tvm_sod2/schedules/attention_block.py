"""One block of query rows of an attention kernel: chunks of keys, a running softmax, the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.attention_scratch import CHUNK, FEW, Form, Memory, Scratch
from tvm_sod2.schedules.attention_softmax import LOG2_E, Softmax
from tvm_sod2.schedules.attention_spec import Attention
from tvm_sod2.schedules.kernel import Code, EvenBlocks, f32, i64, ramp, splat
from tvm_sod2.schedules.microkernel import Registers, across
from tvm_sod2.schedules.panels import Widths, pieces
from tvm_sod2.schedules.transpose import transpose


class Block:
    """Writes the code for one block of rows.

    What it does with scores has a form for each number of vectors that rows fill; what scores do
    to the result is the same code for all.
    """

    def __init__(
        self,
        code: Code,
        attention: Attention,
        layout: Scratch,
        scratch: Any,
        base: Any,
        batch: list[Any],
        first: Any,
        rows: Any,
    ) -> None:
        self.code, self.attention, self.layout = code, attention, layout
        self.batch, self.first, self.rows = batch, first, rows
        lanes = layout.lanes
        vectors: list[Widths] = [(min(FEW, lanes),), (lanes,), (lanes, lanes)]
        along = attention.k.contiguous(len(batch) + 1)
        memory = Memory(code, layout, scratch, base, i64(2 * lanes))
        self.forms = [
            Form(widths, replace(memory, breadth=i64(sum(widths))), sum(widths) <= FEW and along)
            for widths in dict.fromkeys(vectors)
        ]
        self.softmax = Softmax(code, attention, batch, first, rows, self.forms[-1])
        breadth: Any = i64(2 * lanes)
        for form in reversed(self.forms[:-1]):
            breadth = tirx.Select(rows <= i64(form.breadth), i64(form.breadth), breadth)
        self.memory = replace(memory, breadth=code.slot(breadth, "breadth"))

    def write(self) -> None:
        code = self.code
        with code.bank():
            self.softmax.begin()
            with code.loop(self.rows, "r") as r, code.loop(self.layout.stride, "c") as c:
                self.memory.put(f32(0.0), self.memory.result(r, c))
            self._by_form(self._begin)
            with code.loop(self.softmax.turns, "turn") as turn:
                begin, keys = self._keys(turn)
                chunks = EvenBlocks(code, keys, CHUNK)
                with code.loop(chunks.count, "chunk") as chunk:
                    start, self.count = chunks.locate(chunk)
                    self.start = code.slot(begin + start, "start")
                    self._by_form(self._scores)
                    self._results()
            self._finish()

    def _by_form(self, write: Callable[[Form], None]) -> None:
        """The first form that has a lane for each row."""
        cases = [(self.rows <= i64(form.breadth), partial(write, form)) for form in self.forms]
        self.code.branch([*cases[:-1], (None, cases[-1][1])])

    def _keys(self, turn: Any) -> tuple[Any, Any]:
        """The first key of a turn and how many there are.

        In a second turn come those that no row sees, if a row has nothing that outweighs them.
        """
        code, softmax = self.code, self.softmax
        keys = self.attention.keys
        live = softmax.live()
        if softmax.turns == 1:
            return i64(0), live
        again = tirx.Select(softmax.outweighed(), i64(0), keys - live)
        first = turn == i64(0)
        return code.slot(turn * live, "begin"), code.slot(tirx.Select(first, live, again), "keys")

    def _scores(self, form: Form) -> None:
        """The powers of the scores of the keys from `start` on."""
        code = self.code
        if form.dots:
            with code.loop(self.count, "j") as j, code.loop(self.rows, "r") as r:
                self._dot(form, j, r)
        else:
            self._by_height(self.count, partial(self._tile, form))
        self.softmax.take(form, self.start, self.count)

    def _results(self) -> None:
        """What these keys add to the result."""
        code = self.code
        lanes, whole = self.layout.lanes, self.layout.whole
        with code.loop(whole, "panel") as panel:
            panel = code.slot(panel * i64(2 * lanes), "column")
            whole_panel = partial(self._products, panel, (lanes, lanes), self.count)
            self._by_height(self.rows, whole_panel)
        if self.layout.tail:
            self._tail(2 * lanes * whole)

    def _begin(self, form: Form) -> None:
        """Pack the queries; a lane beyond the rows repeats the last one."""
        code, attention = self.code, self.attention
        scale = f32(attention.scale * (LOG2_E if self.softmax.exponents else 1.0))
        squares = 0
        if not form.dots and attention.q.contiguous(len(self.batch) + 1):
            squares = attention.depth // form.vectors[0]
            for at, width in form.lines:
                with code.loop(squares, "square") as square:
                    self._square(form, at, width, code.slot(square * i64(width), "c"), scale)
        done = squares * form.vectors[0]
        with code.loop(form.breadth, "lane") as lane:
            row = code.slot(self.softmax.row(lane), "row")
            with code.loop(attention.depth - done, "c", start=done) as c:
                value = attention.q.at([*self.batch, row, c]) * scale
                form.memory.put(value, self._query_at(form, lane, c))

    def _square(self, form: Form, start: Any, width: int, column: Any, scale: Any) -> None:
        """Pack as many columns of a vector of rows as it has lanes."""
        rows = [self.code.register(width, "square", n) for n in range(width)]
        for n, register in enumerate(rows):
            row = self.code.slot(self.softmax.row(i64(start + n)), "row")
            vector = self.attention.q.at([*self.batch, row, column], width)
            self.code.store(register, vector * splat(scale, width), ramp(0, width))
        transpose(self.code, rows)
        for n, register in enumerate(rows):
            place = self._query_at(form, i64(start), column + i64(n))
            form.memory.put(register[ramp(0, width)], place, width)

    def _tile(self, form: Form, first: Any, count: int) -> None:
        """The scores of some keys with all rows."""
        attention = self.attention
        registers = Registers(self.code, count, form.vectors)
        registers.run(
            attention.depth,
            lambda r, c: attention.k.at([*self.batch, self.start + first + i64(r), c]),
            lambda offset, width, c: form.memory.get(self._query_at(form, i64(offset), c), width),
        )
        for r, offset, width, total in registers.totals():
            place = form.memory.score(first + i64(r), i64(offset))
            form.memory.put(total[ramp(0, width)], place, width)

    def _dot(self, form: Form, j: Any, r: Any) -> None:
        """The score of one key and one row, along the columns."""
        lanes = self.layout.lanes
        whole, rest = divmod(self.attention.depth, lanes)

        def term(at: Any, width: int) -> Any:
            key = self.attention.k.at([*self.batch, self.start + j, at], width)
            return form.memory.get(self._query_at(form, r, at), width) * key

        value: Any = f32(0.0)
        if whole:
            total = self.code.register(lanes, "dot")
            self.code.store(total, splat(f32(0.0), lanes), ramp(0, lanes))
            with self.code.loop(whole, "vector") as vector:
                sum_ = total[ramp(0, lanes)] + term(vector * i64(lanes), lanes)
                self.code.store(total, sum_, ramp(0, lanes))
            value = across(self.code, total[ramp(0, lanes)], lanes)
        for at, width in pieces(rest, lanes):
            value = value + across(self.code, term(i64(whole * lanes + at), width), width)
        form.memory.put(value, form.memory.score(j, r))

    def _products(self, column: Any, vectors: Widths, keys: Any, first: Any, count: int) -> None:
        """Add what the chunk's first keys give to some rows and columns of the result."""
        registers = Registers(self.code, count, vectors)
        registers.run(
            keys,
            lambda r, j: self.memory.get(self.memory.score(j, first + i64(r))),
            lambda offset, width, j: self._value(j, column + i64(offset), width),
        )
        for r, offset, width, total in registers.totals():
            row = first + i64(r)
            place = self.memory.result(row, column + i64(offset))
            old = self.memory.get(place, width) * splat(self.softmax.factor[row], width)
            self.memory.put(old + total[ramp(0, width)], place, width)

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
                term = splat(self.memory.get(self.memory.score(last, r)), width)
                place = self.memory.result(r, i64(column + at))
                value = term * self._value(last, i64(column + at), width)
                self.memory.put(self.memory.get(place, width) + value, place, width)

    def _value(self, j: Any, column: Any, width: int) -> Any:
        return self.attention.v.at([*self.batch, self.start + j, column], width)

    def _finish(self) -> None:
        code, attention = self.code, self.attention
        self.softmax.finish()
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
        value = self.memory.get(self.memory.result(r, column)) * self.softmax.factor[r]
        if attention.emptied is not None:
            value = tirx.Select(attention.emptied(index), f32(0.0), value)
        if attention.blank is not None:
            blank = attention.blank(self.softmax.maximum[r], self.softmax.total[r])
            value = tirx.Select(blank, f32(0.0), value)
        target = attention.result.at(index)
        self.code.store(target.source, value, *target.indices)

    def _by_height(self, total: Any, write: Callable[[Any, int], None]) -> None:
        """Tiles of full height, then of less, then single rows, with a version for each."""
        code = self.code
        most = self.layout.shape.rows
        done: Any = i64(0)
        for height in dict.fromkeys((most, max(most // 3, 1), 1)):
            if total is self.rows and height > 2 * self.layout.lanes:
                continue
            tiles = code.slot((total - done) // i64(height), "tiles")
            with code.loop(tiles, "tile") as tile:
                write(code.slot(done + tile * i64(height), "begin"), height)
            done = code.slot(done + tiles * i64(height), "done")

    def _query_at(self, form: Form, lane: Any, c: Any) -> Any:
        if form.dots:
            return lane * i64(self.attention.depth) + c
        return c * i64(form.breadth) + lane
