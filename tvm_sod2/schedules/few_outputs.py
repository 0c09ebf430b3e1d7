"""Convolutions to few channels: lanes along the input channels, sums across them in the end.

With lanes over one to four output channels most of a vector would be empty. A tile has as many
pixels as its sums leave lanes for: all of them are added up across together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.kernel import Code, i64, ramp, splat
from tvm_sod2.schedules.lane_sums import lane_sums
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.panels import Panels, Shape
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.transpose import shuffled

MOST = 4  # output channels

_ACROSS = 128  # products of a sum that pay for adding up its lanes

_SHORTEST = 8  # lanes of vectors that four channels leave half empty

_PIXELS = 8  # of a tile


@dataclass(frozen=True)
class FewOutputs:
    """How sums of `steps` products, `inputs` channels of each tap, go to `outputs` channels.

    Attributes:
        lanes: of a vector of input channels, a divisor of their number.
    """

    outputs: int
    inputs: int
    steps: int
    lanes: int

    @staticmethod
    def of(outputs: int, inputs: int, taps: int, traits: Traits) -> FewOutputs | None:
        """None where lanes over the output channels do as well."""
        lanes, steps = traits.lanes("float32"), taps * inputs
        if outputs > MOST or lanes < _SHORTEST or inputs % lanes or steps < _ACROSS:
            return None
        return FewOutputs(outputs, inputs, steps, lanes)

    @property
    def beside(self) -> int:
        """Lanes of a pixel's sums, a power of two."""
        return 1 << (self.outputs - 1).bit_length()

    @property
    def panels(self) -> Panels:
        rows = min(self.lanes // self.beside, _PIXELS)
        return Panels(self.outputs, Shape(rows, 1, self.lanes))

    @property
    def name(self) -> str:
        """The tile."""
        return f"{self.panels.shape.rows}x{self.outputs}, lanes of {self.lanes} inputs"

    @property
    def packed_shape(self) -> list[Any]:
        """[1, vectors of products, outputs * lanes]."""
        return [i64(1), i64(self.steps // self.lanes), i64(self.outputs * self.lanes)]

    def pack(self, matrix: np.ndarray) -> np.ndarray:
        """Weights [steps, outputs] in that shape."""
        split = matrix.reshape(-1, self.lanes, self.outputs).transpose(0, 2, 1)
        return np.ascontiguousarray(split).reshape(1, len(split), -1)


class LaneSums(Registers):
    """For each row and output channel a vector of sums over every so many input channels."""

    def __init__(self, code: Code, rows: int, few: FewOutputs) -> None:
        super().__init__(code, rows, (few.lanes,) * few.outputs, chains=1)
        self.few = few

    def run(
        self,
        length: Any,
        data: Callable[[int, Any], Any],
        weight: Callable[[int, int, Any], Any],
        where: Callable[[int], Any] | None = None,
    ) -> None:
        """As of all registers, but data gives a vector of channels, and k numbers such vectors."""
        lanes = self.few.lanes
        count = length // (lanes if isinstance(length, int) else i64(lanes))
        with self.code.loop(count, "k") as k:
            self.multiply(
                lambda r, _offset, width: data(r, ramp(k * i64(lanes), width)),
                lambda offset, width: weight(offset, width, k),
                where=where,
            )

    def totals(self) -> Iterator[tuple[int, int, int, Any]]:
        """As of all registers, a vector of all output channels for each row."""
        code, few = self.code, self.few
        vectors, none = [], 0
        for row in self.sums:
            vectors += [chains[0] for chains in row]
            none = self._fill(vectors, len(vectors) + few.beside - few.outputs, none)
        self._fill(vectors, 1 << (len(vectors) - 1).bit_length(), none)
        across = code.register(len(vectors), "across", len(vectors))
        code.store(across, lane_sums(code, vectors), ramp(0, len(vectors)))
        for r in range(len(self.sums)):
            total = code.register(few.beside, "total", r)
            lanes = [r * few.beside + o for o in range(few.beside)]
            if few.beside == 1:
                code.store(total, across[i64(r)], 0)
            else:
                whole = across[ramp(0, len(vectors))]
                code.store(total, shuffled([whole], lanes), ramp(0, few.beside))
            yield r, 0, few.beside, total

    def _fill(self, vectors: list[Any], length: int, none: int) -> int:
        """Vectors of zeros up to a length, numbered from `none`; returns the next number."""
        lanes = self.few.lanes
        for number in range(none, none + length - len(vectors)):
            zeros = self.code.register(lanes, "none", number)
            self.code.store(zeros, splat(tirx.const(0, self.dtype), lanes), ramp(0, lanes))
            vectors.append(zeros)
            none = number + 1
        return none
