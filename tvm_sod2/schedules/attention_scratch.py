"""What each worker of an attention kernel keeps in memory, and the tiles it works in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm_sod2.schedules.attention_spec import Attention
from tvm_sod2.schedules.kernel import Code, i64, ramp
from tvm_sod2.schedules.panels import Shape, Widths, widths
from tvm_sod2.schedules.traits import Traits

FEW = 4  # rows that take narrow vectors
CHUNK = 128  # keys of a chunk


@dataclass(frozen=True)
class Scratch:
    """What a worker keeps beside its stack: packed queries, a chunk's scores, the result so far.

    Attributes:
        lanes: of a whole vector; a block has up to two vectors of rows.
        shape: the largest register tile.
        width: columns of the result; `whole` panels of two vectors, then the vectors `tail`.
    """

    depth: int
    width: int
    lanes: int
    shape: Shape

    @staticmethod
    def of(attention: Attention, traits: Traits) -> Scratch:
        lanes = traits.lanes("float32")
        shape = Shape.for_columns(2 * lanes, traits)
        return Scratch(attention.depth, attention.width, lanes, shape)

    @property
    def whole(self) -> int:
        return self.width // (2 * self.lanes)

    @property
    def tail(self) -> Widths:
        """The last vector may reach beyond by as many columns as there are, into the next key's."""
        return (1,) if self.width == 1 else widths(self.width % (2 * self.lanes), self.lanes)

    @property
    def stride(self) -> int:
        """Floats from one row of the result to the next."""
        return 2 * self.lanes * self.whole + sum(self.tail)

    @property
    def scores(self) -> int:
        return 2 * self.lanes * self.depth

    @property
    def result(self) -> int:
        return self.scores + 2 * self.lanes * CHUNK

    @property
    def size(self) -> int:
        return self.result + 2 * self.lanes * self.stride


@dataclass(frozen=True)
class Memory:
    """A worker's scratch, from `base` on, while it does a block of `breadth` lanes of rows."""

    code: Code
    layout: Scratch
    scratch: Any
    base: Any
    breadth: Any

    def score(self, j: Any, lane: Any) -> Any:
        """Where the score of a chunk's key and a lane lies."""
        return i64(self.layout.scores) + j * self.breadth + lane

    def result(self, row: Any, column: Any) -> Any:
        """Where an element of the block's result lies."""
        return i64(self.layout.result) + row * i64(self.layout.stride) + column

    def get(self, at: Any, width: int = 1) -> Any:
        return self.scratch[ramp(self.base + at, width)]

    def put(self, value: Any, at: Any, width: int = 1) -> None:
        self.code.store(self.scratch, value, ramp(self.base + at, width))


@dataclass(frozen=True)
class Form:
    """How scores lie where rows fill these vectors; `dots` multiplies along the columns."""

    vectors: Widths
    memory: Memory
    dots: bool

    @property
    def breadth(self) -> int:
        return sum(self.vectors)

    @property
    def lines(self) -> list[tuple[int, int]]:
        """First lane and width of each vector."""
        return [(sum(self.vectors[:v]), width) for v, width in enumerate(self.vectors)]
