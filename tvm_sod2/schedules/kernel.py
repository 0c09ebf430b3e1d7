"""A kernel as emitters return it, and the statement builder they write it with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import tirx
from tvm.tirx import ForKind

from tvm_sod2.schedules import grain

Pack = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Kernel:
    """A lowered PrimFunc with the parameters of the one it replaces.

    Attributes:
        func: the kernel; only packed parameters have a new shape.
        name: which emitter made it, and with which tile.
        pack: for each packed parameter, by position, how its constant is laid out anew.
    """

    func: tirx.PrimFunc
    name: str
    pack: Mapping[int, Pack] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """Why an emitter does not apply."""

    reason: str


def i64(value: Any) -> Any:
    """An int64 immediate for a Python int; expressions pass through."""
    return tirx.IntImm("int64", value) if isinstance(value, int) else value


def f32(value: float) -> Any:
    """A float32 immediate."""
    return tirx.const(value, "float32")


def ramp(start: Any, lanes: int) -> Any:
    """`lanes` consecutive indices; a scalar index for one lane."""
    return i64(start) if lanes == 1 else tirx.Ramp(i64(start), i64(1), lanes)


def splat(value: Any, lanes: int) -> Any:
    """A scalar in every lane."""
    return value if lanes == 1 else tirx.Broadcast(value, lanes)


class Code:
    """Writes TIR statements top to bottom; `with` opens loops and branches."""

    def __init__(self) -> None:
        self._open: list[list[Any]] = [[]]
        self._bank: dict[tuple[Any, ...], Any] = {}
        self._bank_opened: list[Any] = []

    def body(self) -> Any:
        """The statement written so far at the outermost level."""
        (statements,) = self._open
        return _sequence(statements)

    def add(self, statement: Any) -> None:
        self._open[-1].append(statement)

    def store(self, buffer: Any, value: Any, *index: Any) -> None:
        self.add(tirx.BufferStore(buffer, value, [i64(i) for i in index]))

    def buffer(self, size: int, name: str, dtype: str = "float32") -> Any:
        """A stack buffer. Below 1024 bytes; TVM takes larger ones from the heap."""
        made = tirx.decl_buffer([i64(size)], dtype, name)
        self.add(tirx.AllocBuffer(made))
        return made

    def slot(self, value: Any, name: str) -> Any:
        """Name a run-time integer.

        It goes through a one-slot buffer: TVM's simplifier substitutes let-bound values and takes
        minutes over the result, while LLVM turns the slot into a register at no cost.
        """
        slot = self.buffer(1, name, "int64")
        self.store(slot, value, 0)
        return slot[i64(0)]

    @contextmanager
    def bank(self) -> Iterator[None]:
        """Gives what is written inside its registers; see `register`."""
        self._bank, self._bank_opened = {}, []
        self.add(self._bank_opened)
        yield
        for buffer in self._bank.values():
            self.add(_touch(buffer))

    def register(self, lanes: int, *key: Any, dtype: str = "float32") -> Any:
        """The vector known by `key` in the bank, for LLVM to keep in a register.

        TVM's StorageRewrite lets buffers of different length share one when their uses do not
        overlap, and LLVM then keeps the longer one in memory. The bank's buffers are therefore used
        at its start and at its end, by stores that LLVM finds dead.
        """
        if (dtype, lanes, *key) not in self._bank:
            name = "_".join(map(str, (key[0], lanes, *key[1:])))
            made = tirx.decl_buffer([i64(lanes)], dtype, name)
            self._bank[(dtype, lanes, *key)] = made
            self._bank_opened += [tirx.AllocBuffer(made), _touch(made)]
        return self._bank[(dtype, lanes, *key)]

    @contextmanager
    def loop(
        self, extent: Any, name: str, kind: int = ForKind.SERIAL, start: Any = 0
    ) -> Iterator[Any]:
        """`for name in [start, start + extent)`; yields the loop variable."""
        var = tirx.Var(name, "int64")
        self._open.append([])
        yield var
        self.add(tirx.For(var, i64(start), i64(extent), kind, _sequence(self._open.pop())))

    @contextmanager
    def tasks(self, extent: Any, name: str, work: Any) -> Iterator[Any]:
        """A loop whose iterations run on several threads where `work` is worth it, see grain.py."""
        var = tirx.Var(name, "int64")
        self._open.append([])
        yield var
        self.add(grain.tasks(var, i64(extent), work, _sequence(self._open.pop())))

    @contextmanager
    def parts(self, extent: Any, name: str, work: Any) -> Iterator[tuple[Any, Any]]:
        """As `tasks`, but each thread once: yields the range of tasks that is its part."""
        with self.tasks(extent, name, work) as begin:
            yield begin, self.slot(grain.end_of_part(begin), f"{name}_end")

    @contextmanager
    def vector(self, width: int) -> Iterator[Any]:
        """`width` lanes at once; yields the lane. TVM refuses a vectorised loop over one lane."""
        if width == 1:
            yield i64(0)
        else:
            with self.loop(width, "lane", ForKind.VECTORIZED) as lane:
                yield lane

    def branch(self, cases: Sequence[tuple[Any, Callable[[], None]]]) -> None:
        """The first case whose condition holds; a condition None is the `else`."""
        statement = None
        for condition, write in reversed(cases):
            self._open.append([])
            write()
            inner = _sequence(self._open.pop())
            statement = inner if condition is None else tirx.IfThenElse(condition, inner, statement)
        self.add(statement)


def _touch(buffer: Any) -> Any:
    lanes = int(buffer.shape[0])
    zero = tirx.const(0, str(buffer.dtype))
    return tirx.BufferStore(buffer, splat(zero, lanes), [ramp(0, lanes)])


def _sequence(parts: list[Any]) -> Any:
    statements = [s for part in parts for s in (part if isinstance(part, list) else [part])]
    if not statements:
        return tirx.Evaluate(tirx.const(0, "int32"))
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(statements)


def lowered(func: tirx.PrimFunc, params: Sequence[Any], body: Any) -> tirx.PrimFunc:
    """`func` with new parameters and a loop body that needs no schedule any more."""
    attrs = {k: v for k, v in dict(func.attrs or {}).items() if k not in ("s_tir",)}
    made = tirx.PrimFunc(params, body)
    for key, value in attrs.items():
        made = made.with_attr(key, value)
    return made.with_attr({"tirx.noalias": True, "tirx.is_scheduled": True})


def unravel(code: Code, number: Any, dims: Sequence[Any]) -> list[Any]:
    """The index, one run-time integer for each dim, of an element's number in row-major order."""
    index: list[Any] = []
    for axis in range(len(dims) - 1, 0, -1):
        index.append(code.slot(number % dims[axis], f"at{axis}"))
        number = code.slot(number // dims[axis], f"rest{axis}")
    return [code.slot(number, "at0"), *reversed(index)] if dims else []


class EvenBlocks:
    """`total` cut into the fewest blocks of at most `most`, as even as can be.

    13 rows in tiles of 12 are 7 and 6 rows, not 12 and one slow one. Their number is a multiple of
    `multiple`, where one is given. Make it outside of the loop over blocks: it divides.
    """

    def __init__(self, code: Code, total: Any, most: int, multiple: Any = None) -> None:
        self.code = code
        each = i64(most) if multiple is None else multiple * i64(most)
        count = (total + each - i64(1)) // each
        self.count = code.slot(count if multiple is None else count * multiple, "count")
        self.divisor = code.slot(tirx.max(self.count, i64(1)), "divisor")
        self.size = code.slot(total // self.divisor, "size")
        self.longer = code.slot(total - self.size * self.divisor, "longer")

    def locate(self, block: Any) -> tuple[Any, Any]:
        """Start and size of a block."""
        first = self.code.slot(block * self.size + tirx.min(block, self.longer), "first")
        more = tirx.Select(block < self.longer, i64(1), i64(0))
        return first, self.code.slot(self.size + more, "rows")

    def holding(self, item: Any) -> Any:
        """The block that has an item."""
        long = self.longer * (self.size + i64(1))
        shorter = self.longer + (item - long) // tirx.max(self.size, i64(1))
        return tirx.Select(item < long, item // (self.size + i64(1)), shorter)
