"""Prints how many bytes a loop of 1,000 trips over 10 MB of state takes; a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from loop_graphs import compiled, graph, op

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


def main() -> None:
    body = graph([op("t = Add(s, x)"), op("go = Identity(c)")], "i:i: c:b: s:f", "go:b: t:f")
    ours, _ = compiled(graph([op("last = Loop(m, , s0)", body=body)], "m:i: x:f: s0:f:n", "last:f"))
    ours(given(1, 8))
    feed = given(TRIPS, SIZE)
    before = status("VmRSS")
    (last,) = ours(feed)
    assert (last == TRIPS).all()
    print(status("VmHWM") - before)


if __name__ == "__main__":
    main()
