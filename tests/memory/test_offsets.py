"""Stackings: no overlap whatever the sizes, and close to the peak."""

from __future__ import annotations

import random

import pytest

from tvm_sod2.memory.offsets import Span, choose_stacking, peak_live


def random_spans(seed: int, count: int) -> list[Span]:
    rng = random.Random(seed)
    starts = sorted(rng.randrange(count) for _ in range(count))
    return [Span(start, start + rng.randint(0, 6)) for start in starts]


def random_sizes(rng: random.Random, count: int) -> list[int]:
    return [64 * rng.choice([0, 1, 2, 16, 100, 1000]) for _ in range(count)]


@pytest.mark.parametrize("seed", range(25))
def test_tensors_alive_together_never_overlap_at_any_sizes(seed: int) -> None:
    rng = random.Random(seed)
    spans = random_spans(seed, 40)
    samples = [random_sizes(rng, 40) for _ in range(3)]
    stacking = choose_stacking(spans, samples)
    for sizes in [*samples, *(random_sizes(rng, 40) for _ in range(10)), [0] * 40]:
        offsets = stacking.offsets(sizes)
        for i, one in enumerate(spans):
            for j in range(i):
                if one.conflicts(spans[j]):
                    above = offsets[i] >= offsets[j] + sizes[j]
                    below = offsets[j] >= offsets[i] + sizes[i]
                    assert above or below
        assert peak_live(spans, sizes) <= stacking.height(sizes) <= sum(sizes)
    assert all(stacking.height(sizes) <= 1.35 * peak_live(spans, sizes) for sizes in samples)


def test_a_chain_needs_its_two_largest_neighbours() -> None:
    spans = [Span(i, i + 1) for i in range(6)]
    sizes = [64 * size for size in (1, 8, 2, 8, 1, 4)]
    stacking = choose_stacking(spans, [sizes])
    assert stacking.height(sizes) == peak_live(spans, sizes) == 64 * 10


def test_arms_of_one_if_may_take_the_same_bytes() -> None:
    then, other = Span(2, 5, ((1, True),)), Span(3, 6, ((1, False),))
    assert not then.conflicts(other)
    assert then.conflicts(Span(2, 5, ((1, True),)))
    assert then.conflicts(Span(0, 9))
    stacking = choose_stacking([then, other, Span(0, 9)], [[64, 128, 64]])
    assert stacking.height([64, 128, 64]) == 192


def test_nothing_to_place() -> None:
    assert choose_stacking([], [[]]).height([]) == 0
