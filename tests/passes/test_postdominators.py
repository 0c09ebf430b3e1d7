"""Post-dominators against their definition: the nodes on every path to the exit."""

from __future__ import annotations

import random

import pytest

from tvm_sod2.passes.postdominators import EXIT, immediate_post_dominators, nodes_between


def on_every_path(start: int, consumers: list[list[int]]) -> set[int]:
    """Nodes after `start` without which the exit is out of reach."""

    def reaches_exit(without: int) -> bool:
        work, seen = [start], set()
        while work:
            node = work.pop()
            if node == EXIT:
                return True
            if node != without and node not in seen:
                seen.add(node)
                work.extend(consumers[node])
        return False

    return {n for n in range(start + 1, len(consumers)) if not reaches_exit(n)}


@pytest.mark.parametrize("seed", range(30))
def test_against_the_definition(seed: int) -> None:
    rng = random.Random(seed)
    count = rng.randint(1, 14)
    consumers = [
        sorted(rng.sample(range(node + 1, count), min(rng.randint(0, 2), count - node - 1)))
        for node in range(count)
    ]
    consumers = [[*c, EXIT] if not c or rng.random() < 0.15 else c for c in consumers]
    post = immediate_post_dominators(count, consumers)
    for node in range(count):
        every = on_every_path(node, consumers)
        assert post[node] == (min(every) if every else EXIT)


def test_between_a_diamonds_ends() -> None:
    consumers = [[1, 2], [3], [3], [4], [EXIT]]
    assert nodes_between(0, 3, consumers) == [1, 2]
