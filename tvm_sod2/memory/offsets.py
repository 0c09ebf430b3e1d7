"""Where in the arena each tensor lies: one order of stacking, valid for every shape.

At build time the tensors are placed for some sample dims. That placement only decides, for every
two tensors that live at the same time, which one lies below the other (the *orientation*). For
any dims a tensor's offset is then the height of what lies below it,

    offset[i] = max(0, max(offset[j] + size[j] for j directly below i)),

a longest path in the orientation's directed graph. No two live tensors can overlap, whatever the
sizes; at the sample dims the arena is no larger than the placement was.

Placing outward from the peak follows SoD2 (ASPLOS 2024); best fit by decreasing size is the
greedy of "Efficient Memory Management for Deep Neural Net Inference" (Pisarchyk and Lee, 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

_MOVES = 500  # about a second for 300 tensors, and mostly a dozen are enough


@dataclass(frozen=True)
class Span:
    """When a tensor is alive: the bindings `start` to `end`, both included.

    `arms` holds (number of the ``If``, which arm) for each ``If`` around its allocation.
    """

    start: int
    end: int
    arms: tuple[tuple[int, bool], ...] = ()

    def conflicts(self, other: Span) -> bool:
        """Whether both can be alive at once; two arms of one ``If`` never are."""
        if self.start > other.end or other.start > self.end:
            return False
        return not any((branch, not arm) in other.arms for branch, arm in self.arms)


@dataclass(frozen=True)
class Stacking:
    """For each tensor the tensors directly below it, and an order that visits those first."""

    below: tuple[tuple[int, ...], ...]
    order: tuple[int, ...]

    def offsets(self, sizes: Sequence[int]) -> list[int]:
        """Bytes from the arena's start, by the longest path."""
        offset = [0] * len(sizes)
        for i in self.order:
            offset[i] = max((offset[j] + sizes[j] for j in self.below[i]), default=0)
        return offset

    def height(self, sizes: Sequence[int]) -> int:
        offset = self.offsets(sizes)
        return max((offset[i] + sizes[i] for i in self.order), default=0)


def peak_live(spans: Sequence[Span], sizes: Sequence[int]) -> int:
    """Most bytes alive at one binding, along the costlier arm: no plan can need less."""
    return max((sum(sizes[i] for i in alive) for alive in _cliques(spans)), default=0)


def choose_stacking(spans: Sequence[Span], samples: Sequence[Sequence[int]]) -> Stacking:
    """The stacking found whose worst ratio of height to peak over all sample sizes is the lowest.

    Every ranking is tried at every sample; unless that reaches the peak, the best one is improved
    by moving single tensors in the order of placement. Deterministic.
    """
    if not spans:
        return Stacking((), ())
    conflicts = _conflicts(spans)
    peaks = [max(peak_live(spans, sizes), 1) for sizes in samples]

    def placed(ranking: Sequence[int], sizes: Sequence[int]) -> _Candidate:
        stacking = _orient(conflicts, _place(ranking, sizes, conflicts), sizes)
        ratios = [stacking.height(s) / peak for s, peak in zip(samples, peaks, strict=True)]
        return _Candidate((max(ratios), sum(ratios)), list(ranking), stacking)

    best = min(
        (placed(rank(spans, sizes), sizes) for sizes in samples for rank in _RANKINGS),
        key=lambda candidate: candidate.score,
    )
    random = Random(0)
    for _ in range(_MOVES):
        if best.score[0] <= 1.0:
            break
        ranking = list(best.ranking)
        moved = ranking.pop(random.randrange(len(ranking)))
        ranking.insert(random.randrange(len(ranking) + 1), moved)
        found = placed(ranking, random.choice(samples))
        # Equal scores are taken too: plateaus are what a search has to cross.
        if found.score <= best.score:
            best = found
    return best.stacking


@dataclass(frozen=True)
class _Candidate:
    score: tuple[float, float]  # worst ratio, sum of ratios
    ranking: list[int]
    stacking: Stacking


def _conflicts(spans: Sequence[Span]) -> list[set[int]]:
    conflicts: list[set[int]] = [set() for _ in spans]
    for i, span in enumerate(spans):
        for j in range(i):
            if span.conflicts(spans[j]):
                conflicts[i].add(j)
                conflicts[j].add(i)
    return conflicts


def _cliques(spans: Sequence[Span]) -> Iterable[list[int]]:
    """The sets of tensors alive at each start, once per consistent choice of arms."""
    for start, arms in sorted({(span.start, span.arms) for span in spans}):
        probe = Span(start, start, arms)
        yield [i for i, span in enumerate(spans) if span.conflicts(probe)]


def _by_size(spans: Sequence[Span], sizes: Sequence[int]) -> list[int]:
    return sorted(range(len(spans)), key=lambda i: (-sizes[i], spans[i].start))


def _by_start(spans: Sequence[Span], sizes: Sequence[int]) -> list[int]:
    return sorted(range(len(spans)), key=lambda i: (spans[i].start, -sizes[i]))


def _outward_from_peak(spans: Sequence[Span], sizes: Sequence[int]) -> list[int]:
    alive = max(_cliques(spans), key=lambda clique: sum(sizes[i] for i in clique))
    low = max(spans[i].start for i in alive)

    def distance(i: int) -> int:
        return max(0, spans[i].start - low, low - spans[i].end)

    return sorted(range(len(spans)), key=lambda i: (distance(i), -sizes[i], spans[i].start))


def _by_lifetime(spans: Sequence[Span], sizes: Sequence[int]) -> list[int]:
    return sorted(
        range(len(spans)), key=lambda i: (spans[i].start - spans[i].end, -sizes[i], spans[i].start)
    )


_RANKINGS: tuple[Callable[[Sequence[Span], Sequence[int]], list[int]], ...] = (
    _outward_from_peak,
    _by_size,
    _by_start,
    _by_lifetime,
)


def _place(ranked: Iterable[int], sizes: Sequence[int], conflicts: Sequence[set[int]]) -> list[int]:
    """Best fit: each tensor into the narrowest gap left by those placed before it."""
    offset = [-1] * len(sizes)
    for i in ranked:
        taken = sorted((offset[j], offset[j] + sizes[j]) for j in conflicts[i] if offset[j] >= 0)
        best, narrowest, end = None, 0, 0
        for low, high in taken:
            gap = low - end
            if gap >= sizes[i] and (best is None or gap < narrowest):
                best, narrowest = end, gap
            end = max(end, high)
        offset[i] = end if best is None else best
    return offset


def _orient(conflicts: Sequence[set[int]], offset: Sequence[int], sizes: Sequence[int]) -> Stacking:
    """Of two conflicting tensors the one placed lower stays below; implied pairs are dropped.

    A tensor of zero bytes may share its offset with another one: the smaller goes below, so that
    the order of the offsets at the sample dims is kept.
    """
    order = sorted(range(len(offset)), key=lambda i: (offset[i], sizes[i], i))
    rank = {i: position for position, i in enumerate(order)}
    under: list[int] = [0] * len(offset)  # bit set of everything below, directly or not
    below: list[tuple[int, ...]] = [()] * len(offset)
    for i in order:
        direct: list[int] = []
        for j in sorted((j for j in conflicts[i] if rank[j] < rank[i]), key=lambda j: -rank[j]):
            if not under[i] >> j & 1:
                direct.append(j)
                under[i] |= under[j] | 1 << j
        below[i] = tuple(sorted(direct))
    return Stacking(tuple(below), tuple(order))
