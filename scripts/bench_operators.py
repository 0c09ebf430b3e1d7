"""Single ONNX operators that move, reduce or map data: our build and ONNX Runtime, one thread each.

    python scripts/bench_operators.py [NAME ...]

Every dim above 1 is symbolic at build, unless a converter needs it. The two run in turn, several
rounds; medians in microseconds of processor time and the ratio (above 1: ours is faster). What a
call costs beside its kernels, a few microseconds on both sides, is in it.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TVM_NUM_THREADS", "1")

import statistics
from functools import partial

import numpy as np
import onnxruntime
import tvm
from bench_rules import seconds
from operator_rows import ROWS, Row
from tvm import relax

import tvm_sod2

ROUNDS = 15


def measure(row: Row) -> tuple[float, float]:
    """Median seconds of a call: ours, ONNX Runtime's. Both must agree."""
    model = row.model()
    main = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(model)), tvm.cpu())["main"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    arrays = row.inputs()
    binding = session.io_binding()
    for i, array in enumerate(arrays):
        binding.bind_cpu_input(f"x{i}", array)
    for i in range(row.outputs):
        binding.bind_output(f"y{i}", "cpu")
    ours = partial(main, *map(tvm.runtime.tensor, arrays))
    theirs = partial(session.run_with_iobinding, binding)
    theirs()
    found = ours()
    results = [found] if row.outputs == 1 else list(found)
    for result, expected in zip(results, binding.copy_outputs_to_cpu(), strict=True):
        np.testing.assert_allclose(result.numpy(), expected, rtol=1e-3, atol=1e-4)
    times = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
    return statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)


def main(wanted: list[str]) -> None:
    """Print one line per operator."""
    print(f"{'operator':32}{'ours':>10}{'ORT':>10}{'ORT/ours':>10}")
    for row in ROWS:
        if wanted and not any(name in row.name for name in wanted):
            continue
        ours, theirs = measure(row)
        print(
            f"{row.name:32}{ours * 1e6:10.1f}{theirs * 1e6:10.1f}{theirs / ours:10.2f}", flush=True
        )


if __name__ == "__main__":
    main(sys.argv[1:])
