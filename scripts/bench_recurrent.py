"""LSTM, GRU and RNN as one node, against ONNX Runtime.

    python scripts/bench_recurrent.py [--threads 1 2] [--seconds 0.5] [--direction forward]

Prints ONNX Runtime's time divided by ours for some hidden sizes and steps x rows. Each case is
timed in turn, as cores.py says, in a process for each number of threads.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from functools import partial

import numpy as np
import onnx

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
HIDDEN = (32, 128, 512)
SIZES = ((1, 1), (50, 1), (50, 4), (50, 7), (50, 16), (20, 64))  # steps, rows
INPUTS = 64


def network(kind: str, hidden: int, direction: str) -> onnx.ModelProto:
    """One node with constant weights."""
    helper, rng = onnx.helper, np.random.default_rng(0)
    directions, width = 2 if direction == "bidirectional" else 1, GATES[kind] * hidden
    shapes = {
        "w": (directions, width, INPUTS),
        "r": (directions, width, hidden),
        "b": (directions, 2 * width),
    }
    weights = [
        onnx.numpy_helper.from_array(
            (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32), name
        )
        for name, shape in shapes.items()
    ]
    node = helper.make_node(
        kind, ["x", "w", "r", "b"], ["y", "last"], hidden_size=hidden, direction=direction
    )
    x = helper.make_tensor_value_info("x", 1, ["steps", "rows", INPUTS])
    outputs = [helper.make_tensor_value_info(name, 1, None) for name in ("y", "last")]
    graph = helper.make_graph([node], "recurrent", [x], outputs, weights)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9)


def measure(seconds: float, direction: str) -> None:
    """Print a row of the table for each kind and size, on as many threads as TVM has here."""
    import onnxruntime
    import tvm
    from cores import timed_in_turn

    import tvm_sod2

    threads = tvm.get_global_func("runtime.NumThreads")()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    rng = np.random.default_rng(1)
    for kind in GATES:
        for hidden in HIDDEN:
            model = network(kind, hidden, direction)
            executable = tvm_sod2.build(tvm_sod2.from_onnx(model))
            ours = tvm.relax.VirtualMachine(executable, tvm.cpu())["main"]
            theirs = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            ).run
            cells = []
            for steps, rows in SIZES:
                x = rng.standard_normal((steps, rows, INPUTS)).astype(np.float32)
                run, other = partial(ours, tvm.runtime.tensor(x)), partial(theirs, None, {"x": x})
                np.testing.assert_allclose(run()[0].numpy(), other()[0], atol=1e-4)
                own, their = timed_in_turn(run, other, seconds, threads)
                cells.append(f"{own * 1e6:.0f} us, {their / own:.2f}")
            print(f"| {threads} | {kind} {hidden} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Measure in a process for each number of threads."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=0.5, help="for each case")
    parser.add_argument("--direction", default="forward")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        measure(options.seconds, options.direction)
        return
    print(f"| threads | cell | {' | '.join(f'{steps} x {rows}' for steps, rows in SIZES)} |")
    print("| --: | --- |" + " --- |" * len(SIZES), flush=True)
    for threads in options.threads:
        environment = {**os.environ, "TVM_NUM_THREADS": str(threads)}
        command = [sys.executable, __file__, "--here", "--seconds", str(options.seconds)]
        command += ["--direction", options.direction]
        subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
