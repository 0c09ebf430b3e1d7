"""Values of a random graph at every sample of its dims, and the finished case."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx

Arrays = list[np.ndarray | None]
"""One array a sample; None where no peer can compute the value at that sample."""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph.

    exact: what the peers compute. noisy: the same with the result of every node that rounds off by
    some ulps, so that ``exact - noisy`` says how far a right answer may be from `exact`.
    """

    name: str
    exact: Arrays
    noisy: Arrays
    constant: bool = False

    @property
    def some(self) -> np.ndarray:
        """The array of any sample; dtype and rank are the same in all."""
        return next(array for array in self.exact if array is not None)

    @property
    def dtype(self) -> str:
        return str(self.some.dtype)

    @property
    def rank(self) -> int:
        return self.some.ndim

    @property
    def dims(self) -> list[tuple[int, ...]]:
        """For each axis its size at every sample that is alive."""
        shapes = [array.shape for array in self.exact if array is not None]
        return list(zip(*shapes, strict=True))

    def fixed(self, axis: int) -> int | None:
        """The size of an axis that has the same at every sample."""
        sizes = set(self.dims[axis])
        return sizes.pop() if len(sizes) == 1 else None

    def smallest(self, axis: int) -> int:
        return min(self.dims[axis])


@dataclass
class Case:
    """A model, its inputs at every sample, and all values of its main graph."""

    model: onnx.ModelProto
    sizes: list[dict[str, int]]
    feeds: list[dict[str, np.ndarray]]
    values: dict[str, Value]
    alive: list[bool] = field(default_factory=list)
    """The samples at which the peers compute everything."""

    @property
    def outputs(self) -> list[Value]:
        return [self.values[value.name] for value in self.model.graph.output]


def tolerance(exact: np.ndarray, noisy: np.ndarray) -> float:
    """How far a right result may be from `exact`, the same for all its entries."""
    if exact.dtype.kind not in "f" or not exact.size:
        return 0.0
    finite = np.isfinite(exact) & np.isfinite(noisy)
    if not finite.any():
        return 0.0
    wide, other = exact[finite].astype("float64"), noisy[finite].astype("float64")
    ulp = 2e-3 if exact.dtype.itemsize == 2 else 4e-6
    return float(30 * np.abs(wide - other).max() + ulp * np.abs(wide).max() + ulp)
