"""The order of a dataflow graph's steps with the lowest peak of live bytes. Integers only."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from tvm_sod2.memory.dataflow import Dataflow

# Sets of done steps that the exact search of one part visits before it gives up: about 0.1 s.
_MOST_STATES = 3000


def peaks(
    flow: Dataflow, order: Sequence[int], sizes: Sequence[int], done: int = 0, alive: int = 0
) -> tuple[int, int, int]:
    """Peak of live bytes while `order` runs, then what is done (a bit set) and alive after it."""
    peak = alive
    state = _State(flow, sizes)
    for step in order:
        peak = max(peak, alive + sizes[step])
        done, alive = state.after(done, alive, step)
    return peak, done, alive


def best_order(flow: Dataflow, samples: Sequence[Sequence[int]]) -> list[int]:
    """All steps in an order whose peak is at no sample higher than that of 0, 1, 2, ..."""
    order: list[int] = []
    states = [(0, 0) for _ in samples]
    for part in _parts(flow):
        order += _best_part(flow, part, samples, states)
        states = [
            peaks(flow, order[-len(part) :], sizes, done, alive)[1:]
            for sizes, (done, alive) in zip(samples, states, strict=True)
        ]
    return order


def _best_part(
    flow: Dataflow,
    part: list[int],
    samples: Sequence[Sequence[int]],
    states: Sequence[tuple[int, int]],
) -> list[int]:
    def cost(order: Sequence[int]) -> list[int]:
        pairs = zip(samples, states, strict=True)
        return [peaks(flow, order, sizes, done, alive)[0] for sizes, (done, alive) in pairs]

    best, lowest = part, cost(part)
    searches: list[_Search] = [_exact, *_GREEDY]
    for sizes, (done, alive) in zip(samples, states, strict=True):
        for search in list(searches):
            order = search(flow, part, sizes, done, alive)
            if order is None:  # Too much at one sample is too much at the others.
                searches.remove(search)
                continue
            found = cost(order)
            if all(a <= b for a, b in zip(found, lowest, strict=True)) and found != lowest:
                best, lowest = order, found
            if search is _exact:
                break
    return best


def _parts(flow: Dataflow) -> list[list[int]]:
    """The steps, cut after each one that all others come before or after in every order."""
    count = len(flow.needs)
    before = [0] * count
    for step in range(count):
        for need in flow.needs[step]:
            before[step] |= before[need] | 1 << need
    followers = [0] * count
    for step in range(count):
        rest = before[step]
        while rest:
            low = rest & -rest
            followers[low.bit_length() - 1] += 1
            rest ^= low
    parts: list[list[int]] = []
    start_mask = 0
    for step in range(count):
        if before[step].bit_count() + followers[step] == count - 1:
            part = (before[step] | 1 << step) & ~start_mask
            parts.append([i for i in range(count) if part >> i & 1])
            start_mask |= part
    tail = [i for i in range(count) if not start_mask >> i & 1]
    return [*parts, tail] if tail else parts


class _State:
    """Live bytes before and after a step, given the set of steps done."""

    def __init__(self, flow: Dataflow, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._uses, self._users, self._needs = flow.uses, flow.users, flow.needed

    def after(self, done: int, alive: int, step: int) -> tuple[int, int]:
        done |= 1 << step
        alive += self._sizes[step]
        for tensor in (*self._uses[step], step):
            if not self._users[tensor] & ~done:
                alive -= self._sizes[tensor]
        return done, alive

    def ready(self, part: Sequence[int], done: int) -> list[int]:
        """The steps of `part` that may be next."""
        left = ~done
        needs = self._needs
        return [step for step in part if left >> step & 1 and not needs[step] & left]


_Search = Callable[[Dataflow, list[int], Sequence[int], int, int], list[int] | None]


def _exact(
    flow: Dataflow, part: list[int], sizes: Sequence[int], done: int, alive: int
) -> list[int] | None:
    """Cheapest path from nothing done to all done, a path costing its peak. None: too many states.

    What is alive depends on the set of steps done, not on their order, so each set is visited once.
    """
    state = _State(flow, sizes)
    goal = done
    for step in part:
        goal |= 1 << step
    came_from: dict[int, tuple[int, int]] = {}
    # Of equal peaks, the path that is further along and closer to the given order comes first.
    queue: list[tuple[int, int, tuple[int, ...], int, int, int, int]] = [
        (alive, 0, (), done, alive, -1, -1)
    ]
    while queue:
        peak, depth, taken, now, live, step, previous = heapq.heappop(queue)
        if now in came_from:
            continue
        came_from[now] = (step, previous)
        if now == goal:
            return _path(came_from, goal)
        if len(came_from) > _MOST_STATES:
            return None
        for candidate in state.ready(part, now):
            after, left = state.after(now, live, candidate)
            if after not in came_from:
                height = max(peak, live + sizes[candidate])
                entry = (height, depth - 1, (*taken, candidate), after, left, candidate, now)
                heapq.heappush(queue, entry)
    return None


def _path(came_from: dict[int, tuple[int, int]], goal: int) -> list[int]:
    steps = []
    while came_from[goal][0] >= 0:
        step, goal = came_from[goal]
        steps.append(step)
    return steps[::-1]


def _greedy(rule: Callable[[int, int], tuple[int, int]]) -> Callable[..., list[int]]:
    def search(
        flow: Dataflow, part: list[int], sizes: Sequence[int], done: int, alive: int
    ) -> list[int]:
        state = _State(flow, sizes)
        order: list[int] = []
        while len(order) < len(part):
            step = min(
                state.ready(part, done),
                key=lambda s: (*rule(alive + sizes[s], state.after(done, alive, s)[1]), s),
            )
            done, alive = state.after(done, alive, step)
            order.append(step)
        return order

    return search


# By what is alive after the step, and by what is alive during it.
_GREEDY = (_greedy(lambda during, after: (after, during)), _greedy(lambda d, a: (d, a)))
