"""Pairs of filters that agree on their even taps and are opposite on the odd ones.

Those of a discrete Fourier transform are, under any window: ``cos(pi * n - x)`` is ``cos(x)`` or
its opposite. Sums over even taps and over odd taps then serve both filters of a pair: the first
step of Cooley and Tukey's transform (1965), found in the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TOLERANCE = 2.0**-24
"""Of the largest weight: what rounding it to float32 may have changed."""

_MOST_KEPT = 0.6  # of all filters; with more, too little is saved
_FEW = 32  # taps
_MOST_RUNS = 8  # each is a copy loop of its own


@dataclass
class Run:
    """Filters in a row, computed from kept ones in a row, in order from `first` to `last`.

    sign: 0 for a kept filter, the sum over its even taps (e) and its odd ones (o); 1 for the
    partner ``e - o``, -1 for ``o - e``.
    """

    sign: int
    first: int
    last: int

    @property
    def count(self) -> int:
        """How many filters."""
        return abs(self.last - self.first) + 1

    def takes(self, sign: int, place: int) -> bool:
        """Whether the filter goes on where the run stops."""
        ahead = [self.last + 1] * (self.first <= self.last)
        back = [self.last - 1] * (self.first >= self.last)
        return sign == self.sign and place in (ahead if sign == 0 else ahead + back)


@dataclass(frozen=True)
class Pairs:
    """`kept` are the filters to compute; `runs` say how all of them come from these, in order."""

    kept: list[int]
    runs: list[Run]


def find_pairs(weights: np.ndarray, starts: frozenset[int] = frozenset()) -> Pairs | None:
    """Pairs among filters (count, taps), or None where too few are found.

    No run goes on at a filter of `starts`.
    """
    even, odd = weights[:, 0::2], weights[:, 1::2]
    slack = TOLERANCE * np.abs(weights).max(initial=0)
    if not _looks_paired(even[:, :_FEW], odd[:, :_FEW], slack):
        return None
    # Two numbers of a filter tell most others apart.
    marks = [half.astype(np.float64) @ _mark(half.shape[1]) for half in (even, odd)]
    kept: list[int] = []
    free: list[int] = []  # places in `kept` without a partner
    runs: list[Run] = []

    def differ(a: int, b: int, sign: int) -> bool:
        apart = np.abs(even[a] - sign * even[b]), np.abs(odd[a] + sign * odd[b])
        return max(part.max(initial=0) for part in apart) > slack

    def partner(row: int) -> tuple[int, int] | None:
        """Its sign and its place: the run's next, if that is one."""
        found = []
        rows = [kept[place] for place in free]
        for sign in (1, -1):
            apart = np.abs(marks[0][rows] - sign * marks[0][row])
            apart = np.maximum(apart, np.abs(marks[1][rows] + sign * marks[1][row]))
            near = np.flatnonzero(apart <= slack * weights.shape[1])
            found += [(sign, free[i]) for i in near if not differ(rows[i], row, sign)]
        return max(found, key=lambda pair: runs[-1].takes(*pair), default=None)

    for row in range(len(weights)):
        sign, place = partner(row) or (0, len(kept))
        if sign == 0:
            kept.append(row)
            free.append(place)
        else:
            free.remove(place)
        if runs and row not in starts and runs[-1].takes(sign, place):
            runs[-1].last = place
        else:
            runs.append(Run(sign, place, place))
        if len(runs) > _MOST_RUNS:
            return None
    return Pairs(kept, runs) if len(kept) <= _MOST_KEPT * len(weights) else None


def _looks_paired(even: np.ndarray, odd: np.ndarray, slack: float) -> bool:
    """Whether enough filters have another with the same marks of their first taps, but for signs.

    Tells the weights of a layer from filters at a small part of the search's cost.
    """
    for half in (even, odd):
        marks = np.sort(np.abs(half.astype(np.float64) @ _mark(half.shape[1])))
        near = np.diff(marks) <= slack * half.shape[1] * 2
        if near.sum() < (1 - _MOST_KEPT) * len(marks):
            return False
    return True


def _mark(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 1, count)
