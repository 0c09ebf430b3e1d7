"""What each worker of an attention kernel keeps in memory, and the tiles it works in."""

from __future__ import annotations

from dataclasses import dataclass

from tvm_sod2.schedules.attention_spec import Attention
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
        panels: first column and vectors of each panel of the result.
    """

    depth: int
    lanes: int
    shape: Shape
    panels: tuple[tuple[int, Widths], ...]

    @staticmethod
    def of(attention: Attention, traits: Traits) -> Scratch:
        lanes = traits.lanes("float32")
        shape = Shape.for_columns(2 * lanes, traits)
        return Scratch(attention.depth, lanes, shape, tuple(_panels(attention.width, lanes)))

    @property
    def stride(self) -> int:
        """Floats from one row of the result to the next."""
        return sum(sum(vectors) for _, vectors in self.panels)

    @property
    def scores(self) -> int:
        return 2 * self.lanes * self.depth

    @property
    def result(self) -> int:
        return self.scores + 2 * self.lanes * CHUNK

    @property
    def size(self) -> int:
        return self.result + 2 * self.lanes * self.stride


def _panels(columns: int, lanes: int) -> list[tuple[int, Widths]]:
    """Start and vectors of each panel; the last vector may reach beyond the columns."""
    whole: list[tuple[int, Widths]] = [
        (start, (lanes, lanes)) for start in range(0, columns - 2 * lanes + 1, 2 * lanes)
    ]
    done = 2 * lanes * len(whole)
    if done == columns:
        return whole
    # A vector may reach beyond the columns by as many as there are, into the next key's.
    return [*whole, (done, (1,) if columns == 1 else widths(columns - done, lanes))]
