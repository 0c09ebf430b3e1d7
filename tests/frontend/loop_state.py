"""Prints how many bytes a loop of 1,000 trips over 10 MB of state takes; a process of its own.

With the argument "sequence" each turn puts the first numbers of its state into a sequence, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from loop_graphs import compiled, graph, op
from sequence_graphs import compiled as compiled_text
from sequence_graphs import model

TRIPS, SIZE = 1000, 2_500_000


def status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024


def given(trips: int, size: int) -> dict[str, np.ndarray]:
    return {
        "m": np.asarray(trips),
        "x": np.asarray(1, "float32"),
        "s0": np.zeros(size, "float32"),
    }


def plain() -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    body = graph([op("t = Add(s, x)"), op("go = Identity(c)")], "i:i: c:b: s:f", "go:b: t:f")
    ours, _ = compiled(graph([op("last = Loop(m, , s0)", body=body)], "m:i: x:f: s0:f:n", "last:f"))
    return lambda feed: ours(feed)[0]


def with_sequence() -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    proto = model(
        "(int64 m, float x, float[n] s0) => (float[n] last, seq(float[2]) heads)",
        """
        none = SequenceEmpty ()
        yes = Constant <value = bool {1}> ()
        last, heads = Loop (m, yes, s0, none) <body: graph = turn
            (int64 i, bool c, float[n] s, seq(float[2]) before)
            => (bool go, float[n] t, seq(float[2]) after) {
            go = Identity (c)
            zero = Constant <value_ints = [0]> ()
            two = Constant <value_ints = [2]> ()
            head = Slice (s, zero, two)
            after = SequenceInsert (before, head)
            t = Add (s, x)
        }>
        """,
    )
    ours = compiled_text(proto)

    def call(feed: dict[str, np.ndarray]) -> np.ndarray:
        last, heads = ours(*feed.values())
        expected = np.arange(len(heads), dtype="float32")
        assert (np.asarray(heads) == expected[:, None]).all()
        return last

    return call


def main() -> None:
    ours = with_sequence() if sys.argv[1:] == ["sequence"] else plain()
    ours(given(1, 8))
    feed = given(TRIPS, SIZE)
    before = status("VmRSS")
    last = ours(feed)
    assert (last == TRIPS).all()
    print(status("VmHWM") - before)


if __name__ == "__main__":
    main()
