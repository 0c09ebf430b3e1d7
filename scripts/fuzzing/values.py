"""Values of a random graph at every sample of its dims, and the finished case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper

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

    def at(self, alive: Sequence[bool]) -> Value:
        """The value without the samples that are not alive; a weight is the same at all."""
        return self if self.constant else replace(self, **_at(self, alive))

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


Lists = list[list[np.ndarray] | None]
"""The tensors of a sequence at every sample."""


@dataclass(frozen=True)
class Listed:
    """A sequence of tensors, as `Value` has tensors. dtype: of the tensors."""

    name: str
    exact: Lists
    noisy: Lists
    dtype: str
    constant = False

    def at(self, alive: Sequence[bool]) -> Listed:
        """The sequence without the samples that are not alive."""
        return replace(self, **_at(self, alive))

    @property
    def counts(self) -> list[int]:
        """How many tensors it has, at every sample that is alive."""
        return [len(arrays) for arrays in self.exact if arrays is not None]

    def known(self) -> Value | None:
        """The first tensor, where there is one at every sample that is alive."""
        if not min(self.counts):
            return None
        exact, noisy = ([a and a[0] for a in arrays] for arrays in (self.exact, self.noisy))
        return Value(self.name, exact, noisy)  # type: ignore[arg-type]


Held: TypeAlias = Value | Listed


def _at(value: Held, alive: Sequence[bool]) -> dict[str, Any]:
    return {
        key: [a if live else None for a, live in zip(arrays, alive, strict=True)]
        for key, arrays in (("exact", value.exact), ("noisy", value.noisy))
    }


def items(value: Held, sample: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The name, the exact and the noisy array of a tensor, or of each tensor of a sequence."""
    exact, noisy = value.exact[sample], value.noisy[sample]
    if isinstance(exact, list) and isinstance(noisy, list):
        for i, pair in enumerate(zip(exact, noisy, strict=True)):
            yield (f"{value.name}({i})", *pair)
    elif isinstance(exact, np.ndarray) and isinstance(noisy, np.ndarray):
        yield value.name, exact, noisy


@dataclass
class Case:
    """A model, its inputs at every sample, and all values of its main graph."""

    model: onnx.ModelProto
    sizes: list[dict[str, int]]
    feeds: list[dict[str, np.ndarray]]
    values: dict[str, Held]
    alive: list[bool] = field(default_factory=list)
    """The samples at which the peers compute everything."""

    @property
    def outputs(self) -> list[Held]:
        return [self.values[value.name] for value in self.model.graph.output]


def declared(value: Held, dims: Sequence[int | str | None] | None = None) -> onnx.ValueInfoProto:
    """The declaration of a value: its dtype, and the dims of a tensor where they are given."""
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
    kind = helper.make_tensor_type_proto(dtype, dims)
    if isinstance(value, Listed):
        kind = helper.make_sequence_type_proto(kind)
    return helper.make_value_info(value.name, kind)


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
