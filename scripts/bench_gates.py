"""Time over live gates: what does not run must cost nothing.

A network of 16 gated blocks runs with 0, 4, 8 and 16 of them live. The kernels that the VM calls
are counted, and time and count are compared with the line from none live to all live. A loop of a
million trips stands beside it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import onnx
import tvm
from tvm import relax

from tvm_sod2 import build, from_onnx

GATES = 16
LIVE = (0, 4, 8, 16)
ROWS = 64
TRIPS = 1_000_000
INNER = 5
"""Calls between two looks at the clock."""
LIMIT = 1.25
"""How far above the line the time may lie."""


def count_kernels(vm: relax.VirtualMachine, call: Callable[[], Any]) -> Counter[str]:
    """How often one call runs each kernel of the library."""
    found: Counter[str] = Counter()

    def instrument(_func: Any, symbol: str, before: bool, _result: Any, *_args: Any) -> int:
        if before and not symbol.startswith("vm.builtin"):
            found[symbol] += 1
        return 0  # run it

    vm.set_instrument(instrument)
    call()
    vm.set_instrument(lambda *_: 0)
    return found


def medians(calls: Mapping[int, Callable[[], Any]], repeats: int) -> dict[int, float]:
    """Seconds of processor time of each call, all in turn; run with TVM_NUM_THREADS=1."""
    times: dict[int, list[float]] = {key: [] for key in calls}
    for _ in range(repeats):
        for key, call in calls.items():
            start = time.process_time()
            for _ in range(INNER):
                call()
            times[key].append((time.process_time() - start) / INNER)
    return {key: statistics.median(values) for key, values in times.items()}


def gates(repeats: int) -> bool:
    """Print the table; whether each live gate costs the same, in kernels and in time."""
    from gated import WIDTH, gated_network

    executable = build(from_onnx(gated_network(GATES)))
    timed, counted = (relax.VirtualMachine(executable, tvm.cpu()) for _ in range(2))
    x = tvm.runtime.tensor(np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype("float32"))
    feeds = {
        live: tvm.runtime.tensor(np.where(np.arange(GATES) < live, 1, -1).astype("float32"))
        for live in LIVE
    }
    kernels = {
        live: count_kernels(counted, partial(counted["main"], x, feed)).total()
        for live, feed in feeds.items()
    }
    calls = {live: partial(timed["main"], x, feed) for live, feed in feeds.items()}
    medians(calls, 3)
    seconds = medians(calls, repeats)
    print("| live gates | ms | over the line | kernels | expected |")
    print("| --: | --: | --: | --: | --: |")
    near = True
    for live in LIVE:
        share = live / GATES
        line = seconds[0] + (seconds[GATES] - seconds[0]) * share
        expected = kernels[0] + (kernels[GATES] - kernels[0]) * share
        near &= seconds[live] < LIMIT * line and kernels[live] == expected
        print(
            f"| {live} | {1e3 * seconds[live]:.3f} | {seconds[live] / line:.2f} "
            f"| {kernels[live]} | {expected:.0f} |"
        )
    return near


def loop() -> None:
    """Print what a million trips take."""
    text = """<ir_version: 9, opset_import: ["" : 17]> g (int64 trips, float[n] x) => (float[n] y) {
        one = Constant<value_int = 1>()  on = Cast<to = 9>(one)
        y = Loop(trips, on, x) <body = b (int64 i, bool c, float[n] s) => (bool o, float[n] r) {
            o = Identity(c)  f = Cast<to = 1>(i)  r = Add(s, f)
        }>
    }"""
    main = relax.VirtualMachine(build(from_onnx(onnx.parser.parse_model(text))), tvm.cpu())["main"]
    trips = tvm.runtime.tensor(np.array(TRIPS))
    start = time.process_time()
    result = main(trips, tvm.runtime.tensor(np.zeros(1, "float32"))).numpy()
    took = time.process_time() - start
    print(f"\n{TRIPS:,} trips of a loop: {took:.2f} s, {1e6 * took / TRIPS:.2f} us each")
    assert abs(result[0] / (TRIPS * (TRIPS - 1) / 2) - 1) < 1e-2


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=51)
    arguments = parser.parse_args(argv)
    near = gates(arguments.repeats)
    loop()
    return 0 if near else 1


if __name__ == "__main__":
    sys.exit(main())
