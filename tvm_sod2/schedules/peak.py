"""The rate of fused multiply-adds that this machine reaches: what kernels are measured against."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import tvm
from tvm import tirx
from tvm.tirx import ForKind

from tvm_sod2.schedules.kernel import Code, f32, ramp, splat
from tvm_sod2.schedules.traits import Traits, host_target

# Independent sums, enough to cover the latency of FMA on two ports, and rounds of them in a call.
SUMS, STEPS = 12, 100_000


def fma_peak(calls: int = 50) -> float:
    """FLOP/s of one core of this machine with all operands in registers; the best of short runs."""
    run, flops = multiply_adds(1)
    return flops / fastest(run, calls)


def multiply_adds(threads: int) -> tuple[Callable[[], object], float]:
    """A program that keeps that many threads of TVM's pool at multiply-adds, and its FLOP."""
    target = host_target()
    lanes = Traits.from_target(target).lanes("float32")
    x = tirx.decl_buffer([threads, lanes * SUMS], "float32", "x")
    code = Code()
    with code.loop(threads, "task", ForKind.PARALLEL if threads > 1 else ForKind.SERIAL) as task:
        totals = [code.buffer(lanes, f"sum{i}") for i in range(SUMS)]
        at = ramp(0, lanes)
        for i, total in enumerate(totals):
            code.store(total, x[task, ramp(i * lanes, lanes)], at)
        with code.loop(STEPS, "step"):
            for total in totals:
                code.store(total, total[at] * splat(f32(0.5), lanes) + splat(f32(0.25), lanes), at)
        for i, total in enumerate(totals):
            code.store(x, total[at], task, ramp(i * lanes, lanes))
    func = tirx.PrimFunc([x], code.body()).with_attr({"global_symbol": "main"})
    run = tvm.compile(tvm.IRModule({"main": func}), target)["main"]
    data = tvm.runtime.tensor(np.ones((threads, lanes * SUMS), np.float32))
    return lambda: run(data), 2.0 * threads * lanes * SUMS * STEPS


def fastest(program: Callable[[], object], calls: int) -> float:
    """Seconds of the fastest of some calls."""
    best = float("inf")
    for _ in range(calls):
        start = time.perf_counter()
        program()
        best = min(best, time.perf_counter() - start)
    return best
