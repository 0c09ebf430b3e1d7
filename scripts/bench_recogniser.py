"""The PP-OCRv4 recogniser: our build, ONNX Runtime, and TVM's default lowering, in one run.

    python scripts/bench_recogniser.py [--threads 1] [--shapes 1x3x48x320 ...] [--no-stock]

Stock TVM cannot import the model; it gets the same Relax module, imported by us and with RDP's
facts written in, and the same target. The engines run in turn, in bursts, so that neither pool of
threads spins against the other; medians, and ratios to our time. Writes JSON with --json FILE.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

BURST = 5
"""Runs of one engine before the next has its turn; the first of a burst only warms up."""


def main() -> None:
    """Build, check and time; print a table."""
    arguments = _arguments()
    os.environ["TVM_NUM_THREADS"] = str(arguments.threads)  # read by TVM at its first use
    import numpy as np

    from tvm_sod2.models import fetch

    path = fetch("ch_PP-OCRv4_rec_infer")
    engines = _engines(path, arguments.threads, arguments.stock)
    rows = []
    for text in arguments.shapes:
        shape = tuple(int(size) for size in text.split("x"))
        image = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        runs = {name: prepare(image) for name, prepare in engines.items()}
        results = {name: run() for name, run in runs.items()}
        expected = results["onnxruntime"]
        for name, result in results.items():
            error = float(np.abs(result - expected).max() / np.abs(expected).max())
            assert error < 1e-3, f"{name} is off by {error:.1e} at {text}"
        rows.append({"shape": text, "threads": arguments.threads, **_times(runs, arguments.rounds)})
        _print(rows[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--shapes", nargs="+", default=["1x3x48x96", "1x3x48x320", "1x3x48x512", "4x3x48x320"]
    )
    parser.add_argument("--rounds", type=int, default=8, help="bursts of each engine")
    parser.add_argument("--no-stock", dest="stock", action="store_false")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _engines(path: Path, threads: int, stock: bool) -> dict[str, Callable]:
    import onnxruntime
    import tvm
    from tvm import relax

    import tvm_sod2
    from tvm_sod2.passes.fold_shapes import fold_shapes
    from tvm_sod2.passes.name_unknown import name_unknown_dims
    from tvm_sod2.schedules.traits import host_target

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options)
    source = session.get_inputs()[0].name
    mod = tvm_sod2.from_onnx(path)

    def on_tvm(executable: tvm.runtime.Executable) -> Callable:
        function = relax.VirtualMachine(executable, tvm.cpu())["main"]

        def prepare(image):  # type: ignore[no-untyped-def]
            tensor = tvm.runtime.tensor(image)
            return lambda: function(tensor).numpy()

        return prepare

    engines = {"tvm_sod2": on_tvm(tvm_sod2.build(mod))}
    engines["onnxruntime"] = lambda image: lambda: session.run(None, {source: image})[0]
    if stock:
        folded = fold_shapes(name_unknown_dims(mod))
        engines["stock tvm"] = on_tvm(tvm.compile(folded, host_target()))
    return engines


def _times(runs: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Median milliseconds of each engine."""
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            for number in range(BURST):
                start = time.perf_counter()
                run()
                elapsed = time.perf_counter() - start
                if number:
                    samples[name].append(elapsed * 1e3)
    return {name: statistics.median(found) for name, found in samples.items()}


def _print(row: dict) -> None:
    ours = row["tvm_sod2"]
    others = [
        f"{name} {row[name]:8.2f} ms = {row[name] / ours:6.2f} x ours"
        for name in ("onnxruntime", "stock tvm")
        if name in row
    ]
    print(f"{row['shape']:>12}  ours {ours:8.2f} ms   " + "   ".join(others), flush=True)


if __name__ == "__main__":
    main()
