"""What the rows of a random graph draw: choices, old values, weights and new inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import helper

from .values import Arrays, Held, Listed, Value

T = TypeVar("T")

SAMPLES = 4
MOST_ENTRIES = 20_000


class RejectedError(Exception):
    """The node drawn does not fit; another one is drawn."""


class Drawing:
    """The values of a graph, and random choices among them.

    free: name a dim that has one size at all samples, now and then. sizes: the named dims at each
    sample. alive: the samples at which the peers computed everything.
    """

    def __init__(self, rng: np.random.Generator, free: bool) -> None:
        self.rng = rng
        self.free = free
        self.sizes = _draw_sizes(rng)
        self.alive = [True] * SAMPLES
        self.inputs: list[Value] = []
        self.visible: list[Value] = []
        self.sequences: list[Listed] = []
        self.by_name: dict[str, Held] = {}
        self._input_infos: list[onnx.ValueInfoProto] = []
        self._uses: Counter[str] = Counter()
        self._count = 0

    def flip(self, probability: float = 0.5) -> bool:
        return bool(self.rng.random() < probability)

    def integer(self, low: int, high: int) -> int:
        """One of low, ..., high."""
        return int(self.rng.integers(low, high + 1))

    def one_of(self, choices: Sequence[T]) -> T:
        if not choices:
            raise RejectedError
        return choices[int(self.rng.integers(len(choices)))]

    def pick(
        self,
        dtypes: Sequence[str] = ("float32",),
        ranks: Sequence[int] = range(7),
        where: Callable[[Value], bool] = lambda value: True,
    ) -> Value:
        """A value of the graph, rather one that nobody has used, rather a late one."""
        fit = [v for v in self.visible if v.dtype in dtypes and v.rank in ranks and where(v)]
        if not fit:
            raise RejectedError
        weights = np.array(
            [(1 + 3 * (self._uses[v.name] == 0)) * (1 + i / len(fit)) for i, v in enumerate(fit)]
        )
        return fit[int(self.rng.choice(len(fit), p=weights / weights.sum()))]

    def const(self, array: Any, dtype: str | None = None) -> Value:
        """A weight."""
        array = np.asarray(array, dtype)
        value = Value(self._name("w"), [array] * SAMPLES, [array] * SAMPLES, constant=True)
        self.by_name[value.name] = value
        return value

    def given(self, arrays: Arrays, dims: Sequence[int | str | None] | None = None) -> Value:
        """A new input of the model; None in `dims` is a dim of its own, without a name."""
        value = Value(self._name("x"), arrays, arrays)
        if dims is None:
            dims = [self._dim(sizes) for sizes in value.dims]
        dtype = helper.np_dtype_to_tensor_dtype(value.some.dtype)
        self._input_infos.append(helper.make_tensor_value_info(value.name, dtype, list(dims)))
        self.inputs.append(value)
        self.by_name[value.name] = value
        self.visible.append(value)
        return value

    def draw_input(self, dtype: str, dims: Sequence[int | str]) -> Value:
        """A new input with the dims given: sizes, or names of dims."""
        shapes = [[d if isinstance(d, int) else s[d] for d in dims] for s in self.sizes]
        if any(np.prod(shape) > MOST_ENTRIES for shape in shapes):
            raise RejectedError
        grid = self.flip(0.3)
        return self.given([self.draw(dtype, shape, grid) for shape in shapes], dims)

    def draw(self, dtype: str, shape: Sequence[int], grid: bool = False) -> np.ndarray:
        """Tame entries of a dtype; `grid`: floats that add and multiply without rounding."""
        if dtype == "bool":
            return self.rng.random(shape) < 0.5
        if dtype.startswith("uint"):
            return self.rng.integers(0, 9, shape).astype(dtype)
        if dtype.startswith("int"):
            return self.rng.integers(-5, 6, shape).astype(dtype)
        if grid:
            return (self.rng.integers(-8, 9, shape) / 4).astype(dtype)
        return self.rng.uniform(-2, 2, shape).astype(dtype)

    def draw_dims(self, rank: int) -> list[int | str]:
        """Dims of a new input: mostly names."""
        names = list(self.sizes[0])
        small = [1, 2, 3, 4, 5, 8]
        return [self.one_of(names) if self.flip(0.65) else self.one_of(small) for _ in range(rank)]

    def like(self, value: Value, dtype: str | None = None) -> Value:
        """A new input of the value's shape."""
        dtype = dtype or value.dtype
        return self.given([None if a is None else self.draw(dtype, a.shape) for a in value.exact])

    def _dim(self, sizes: tuple[int, ...]) -> int | str | None:
        """How an input with these sizes calls the dim."""
        if len(set(sizes)) == 1 and not (self.free and self.flip(0.2)):
            return sizes[0]
        live = [sample for sample, alive in zip(self.sizes, self.alive, strict=True) if alive]
        for name in self.sizes[0]:
            if tuple(sample[name] for sample in live) == sizes:
                return name
        return "_".join(("d", *map(str, sizes)))

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"


def _draw_sizes(rng: np.random.Generator) -> list[dict[str, int]]:
    """Named dims at each sample: ordinary sizes, then ones, zeros and primes among them."""
    names = "nmpq"[: int(rng.integers(2, 5))]
    ordinary = rng.permutation([2, 3, 4, 5, 6, 7, 9])[: len(names)]
    first = dict(zip(names, map(int, ordinary), strict=True))
    pools = ([1, 1, 2, 3, 8], [0, 1, 2, 5], [3, 7, 11, 13, 16, 17, 19])
    if rng.random() < 0.4:
        pools = ([1, 2, 3, 8], [1, 4, 5, 15], [2, 7, 11, 13, 16, 17, 33])
    rest = [{name: int(rng.choice(pool)) for name in names} for pool in pools]
    return [first, *rest]
