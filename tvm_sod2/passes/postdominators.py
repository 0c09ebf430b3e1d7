"""Immediate post-dominators of a graph whose nodes are numbered in topological order."""

from __future__ import annotations

EXIT = -1
"""The node after the last one; every path ends there."""


def immediate_post_dominators(count: int, consumers: list[list[int]]) -> list[int]:
    """Per node, the first node that every path from it to EXIT runs through.

    `consumers[i]` are the successors of node i, all greater than i, or EXIT.
    Source: the tree form of Cooper, Harvey, Kennedy, which one backward sweep solves on a DAG.
    """
    post = [EXIT] * count
    depth = [0] * count
    for node in reversed(range(count)):
        join = consumers[node][0] if consumers[node] else EXIT
        for other in consumers[node][1:]:
            join = _common(join, other, post, depth)
        post[node] = join
        depth[node] = 1 if join == EXIT else depth[join] + 1
    return post


def nodes_between(start: int, sink: int, consumers: list[list[int]]) -> list[int]:
    """The nodes on paths from `start` to its post-dominator `sink`, both excluded."""
    seen: set[int] = set()
    work = [start]
    while work:
        for consumer in consumers[work.pop()]:
            if consumer != sink and consumer not in seen:
                seen.add(consumer)
                work.append(consumer)
    return sorted(seen)


def _common(a: int, b: int, post: list[int], depth: list[int]) -> int:
    while a != b:
        if a == EXIT or b == EXIT:
            return EXIT
        if depth[a] >= depth[b]:
            a = post[a]
        else:
            b = post[b]
    return a
