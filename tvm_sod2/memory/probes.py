"""Byte counts at a few dims: of two, the one that is larger anywhere is not dominated.

A proof of dominance is a search, and most pairs of sizes have none. Comparing them at a handful of
dims, each symbol small in some and large in others, tells so for nearly all of those pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

import numpy as np
import tvm_ffi
from tvm import tirx

from tvm_sod2.memory.sizes import Poly, SizeAlgebra

_POINTS = 16
_VALUES = (1, 3, 17, 64, 1000, 65536)  # no 0: atoms may divide by dims


class Probes:
    """Values of one function's polynomials at fixed points; the same in every build."""

    def __init__(self, sizes: SizeAlgebra) -> None:
        self._sizes = sizes
        self._atoms: dict[int, np.ndarray] = {}
        self._polys: dict[Poly, np.ndarray] = {}

    def define(self, atom: int, members: frozenset[Poly]) -> None:
        """State that an atom stands for the maximum of `members`."""
        self._atoms[atom] = np.maximum.reduce([self.at(member) for member in members])

    def at(self, poly: Poly) -> np.ndarray:
        """The polynomial's value at each point, exact: an array of Python's integers."""
        if poly not in self._polys:
            total = np.zeros(_POINTS, dtype=object)
            for mono, factor in poly:
                product = np.full(_POINTS, factor, dtype=object)
                for atom in mono:
                    product = product * self._atom(atom)
                total = total + product
            self._polys[poly] = total
        return self._polys[poly]

    def _atom(self, atom: int) -> np.ndarray:
        if atom not in self._atoms:
            symbols: list[tirx.Var] = []
            tvm_ffi.structural_walk(self._sizes.atoms[atom], (tirx.Var, symbols.append))
            names = {self._sizes.name(symbol) for symbol in symbols}
            chosen = {name: Random(name).choices(_VALUES, k=_POINTS) for name in names}
            value_of = self._sizes.value_of[atom]
            points = ({name: v[i] for name, v in chosen.items()} for i in range(_POINTS))
            self._atoms[atom] = np.array([_value(value_of, p) for p in points], dtype=object)
        return self._atoms[atom]


def _value(value_of: Callable[[Mapping[str, int]], int], point: Mapping[str, int]) -> int:
    """The value; 0 where it divides by 0, which can cost a proof and never make a false one."""
    try:
        return value_of(point)
    except ZeroDivisionError:
        return 0
