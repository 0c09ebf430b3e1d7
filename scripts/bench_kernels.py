"""Our kernels against ONNX Runtime's and against the machine's rate of fused multiply-adds.

    python scripts/bench_kernels.py [PATTERN] [--threads 1 2] [--seconds 0.5] [--json FILE]

Matrix products, with exact GELU too, at 1 to 1000 rows; products of two run-time operands;
convolutions of every kind; and all convolutions of three networks, each distinct one timed alone
and counted as often as it occurs.
Cases are those whose family or name contains PATTERN. Both sides run in turn, in a process for each
number of threads; figures are medians, at one thread of processor time. ONNX Runtime gets
channels-first tensors, ours channels-last ones: a layout that it changes inside of a one-node graph
is in its time. `within` is what its own profile of the whole network says of the same convolutions,
without such changes; it is measured by the wall clock and not in turn with ours.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

ROWS = (1, 7, 12, 13, 40, 128, 320, 1000)
NETWORKS = {
    "ch_PP-OCRv4_det_infer": (1, 3, 480, 640),
    "ch_PP-OCRv4_rec_infer": (1, 3, 48, 320),
    "320n": (1, 3, 320, 320),
}


def products() -> Iterator[Any]:
    """Matrix products with constant weights, alone and with what transformers put behind them."""
    from kernel_timing import Case, compiled, session
    from onnx import helper
    from tvm import tirx
    from tvm.relax import op

    @cache
    def built(k: int, n: int, gelu: bool) -> Any:
        rng = np.random.default_rng(0)
        w, b = (rng.standard_normal(size).astype(np.float32) for size in ((k, n), (n,)))
        given = [(tirx.Var("m", "int64"), k)]
        if not gelu:
            node = helper.make_node("MatMul", ["x0", "w0"], ["y"])
            return compiled(op.matmul, given, [w]), session([node], [2], [w])
        nodes = [
            helper.make_node("MatMul", ["x0", "w0"], ["product"]),
            helper.make_node("Add", ["product", "w1"], ["sum"]),
            helper.make_node("Gelu", ["sum"], ["y"]),
        ]
        ours = compiled(lambda x, w, b: op.nn.gelu(op.add(op.matmul(x, w), b)), given, [w, b])
        return ours, session(nodes, [2], [w, b])

    def prepare(k: int, n: int, rows: int, gelu: bool) -> Any:
        x = np.random.default_rng(1).standard_normal((rows, k)).astype(np.float32)
        ours, theirs = built(k, n, gelu)
        return ours(x), theirs(x)

    for family, shapes in (
        ("gemm", ((120, 360), (120, 6625), (512, 512), (768, 3072), (2000, 2000))),
        ("gemm gelu", ((120, 240), (768, 3072))),
    ):
        for k, n in shapes:
            for rows in ROWS:
                whole = partial(prepare, k, n, rows, family != "gemm")
                yield Case(family, f"{family} {rows}x{k}x{n}", 2.0 * rows * k * n, whole)


def convolutions() -> Iterator[Any]:
    """Each kind at sizes that OCR networks and detectors have."""
    from kernel_timing import Case, Convolution

    def square(c: int, o: int, k: int, stride: int, at: tuple[int, int], groups: int = 1) -> Any:
        weight, pads = (o, c // groups, k, k), (k // 2,) * 4
        return Convolution((1, c, *at), weight, (stride, stride), pads, groups=groups)

    families = {
        "conv first": [square(3, 16, 3, 2, at) for at in ((48, 320), (480, 640))],
        "conv strided": [
            square(c, o, 3, 2, at)
            for c, o, at in ((32, 64, (80, 80)), (64, 128, (40, 40)), (128, 256, (20, 20)))
        ],
        "conv 1x1": [
            square(c, o, 1, 1, at)
            for c, o, at in ((480, 480, (3, 80)), (96, 96, (60, 80)), (64, 32, (80, 80)))
        ],
        "conv 3x3": [
            square(c, o, 3, 1, at)
            for c, o, at in (
                (96, 24, (120, 160)),
                (96, 96, (30, 40)),
                (32, 32, (80, 80)),
                (64, 64, (40, 40)),
                (128, 128, (20, 20)),
                (64, 64, (10, 10)),
            )
        ],
        "conv depthwise": [
            square(c, c, k, 1, at, c)
            for c, k, at in ((240, 3, (6, 80)), (240, 5, (6, 80)), (48, 3, (120, 160)))
        ],
    }
    for family, found in families.items():
        for conv in found:
            yield Case(family, str(conv), conv.flops, conv.prepare)


def layers(path: Path, shape: tuple[int, ...]) -> Counter:
    """The convolutions of a network at an input's shape, and how often each occurs."""
    import onnx
    from kernel_timing import Convolution
    from rdp_comparison import run_exposed

    model = onnx.load(path)
    name = model.graph.input[0].name
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    arrays = {name: x, **run_exposed(model, {name: x})}
    for tensor in model.graph.initializer:
        arrays[tensor.name] = onnx.numpy_helper.to_array(tensor)
    found: Counter = Counter()
    for node in model.graph.node:
        if node.op_type == "Conv" and len(arrays[node.input[1]].shape) == 4:
            has = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            conv = Convolution(
                arrays[node.input[0]].shape,
                arrays[node.input[1]].shape,
                tuple(has.get("strides", (1, 1))),
                tuple(has.get("pads", (0, 0, 0, 0))),
                tuple(has.get("dilations", (1, 1))),
                int(has.get("group", 1)),
            )
            found[conv] += 1
    return found


def within(path: Path, shape: tuple[int, ...], threads: int, runs: int = 20) -> float:
    """Seconds that ONNX Runtime's profile gives to a network's convolutions in one run."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        for _ in range(runs):
            session.run(None, {session.get_inputs()[0].name: x})
        events = json.loads(Path(session.end_profiling()).read_text())
    took: dict[str, list[float]] = defaultdict(list)
    for event in events:
        operator = event.get("args", {}).get("op_name", "")
        if operator in ("Conv", "FusedConv") and event["name"].endswith("_kernel_time"):
            took[event["name"]].append(event["dur"] * 1e-6)
    return sum(float(np.median(times)) for times in took.values())


def rows(pattern: str, seconds: float) -> list[dict[str, Any]]:
    """Every case that the pattern names, measured in this process."""
    import tvm
    from kernel_timing import Case, measure
    from other_convolutions import other_convolutions
    from runtime_products import runtime_products

    from tvm_sod2.models import fetch
    from tvm_sod2.schedules.peak import fma_peak

    threads = tvm.get_global_func("runtime.NumThreads")()
    peak = fma_peak() * threads
    found: list[dict[str, Any]] = []

    def note(family: str, name: str, flops: float, ours: float, theirs: float, **more: Any) -> None:
        row = {"family": family, "name": name, "threads": threads, "peak": flops / ours / peak}
        row |= {"gflops": flops / ours / 1e9, "ours_us": ours * 1e6, "ratio": theirs / ours}
        found.append({**row, **more})
        print(f"{threads} {name}: {theirs / ours:.2f}", file=sys.stderr, flush=True)

    for case in (*products(), *runtime_products(), *convolutions(), *other_convolutions()):
        if pattern in case.family or pattern in case.name:
            note(case.family, case.name, case.flops, *measure(case, seconds))
    for network, shape in NETWORKS.items():
        if pattern not in network and pattern not in "network":
            continue
        path = fetch(network)
        counts = layers(path, shape)
        times = {
            conv: measure(Case("", str(conv), conv.flops, conv.prepare), seconds) for conv in counts
        }
        ours, theirs = (sum(t[i] * counts[conv] for conv, t in times.items()) for i in range(2))
        flops = sum(conv.flops * count for conv, count in counts.items())
        name = f"{counts.total()} convolutions of {network}"
        inside = within(path, shape, threads)
        note("network", name, flops, ours, theirs, within_us=inside * 1e6, within=inside / ours)
    return found


def markdown(found: list[dict[str, Any]]) -> str:
    """A table of all cases, and the geometric mean of each family."""
    threads = sorted({row["threads"] for row in found})
    names = dict.fromkeys(row["name"] for row in found)
    at = {(row["name"], row["threads"]): row for row in found}
    heads = [f"us, {n} | GFLOP/s | peak | ONNX Runtime / ours" for n in threads]
    text = [f"| kernel | {' | '.join(heads)} |", "| --- |" + " --: |" * 4 * len(threads)]
    for name in names:
        cells = []
        for n in threads:
            row = at[name, n]
            more = f" ({row['within']:.2f} within)" if "within" in row else ""
            cells += [f"{row['ours_us']:.4g}", f"{row['gflops']:.0f}", f"{row['peak']:.0%}"]
            cells += [f"{row['ratio']:.2f}{more}"]
        text.append(f"| {name} | {' | '.join(cells)} |")
    text.append("")
    for family in dict.fromkeys(row["family"] for row in found):
        for n in threads:
            ratios = [r["ratio"] for r in found if r["family"] == family and r["threads"] == n]
            mean = np.exp(np.mean(np.log(ratios)))
            text.append(f"{family}, threads {n}: mean {mean:.2f}, least {min(ratios):.2f}")
    return "\n".join(text)


def main() -> None:
    """Measure in a process for each number of threads; print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("pattern", nargs="?", default="")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=0.5, help="for each case")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(rows(options.pattern, options.seconds)))
        return
    found = []
    for threads in options.threads:
        environment = {**os.environ, "TVM_NUM_THREADS": str(threads)}
        command = [sys.executable, __file__, options.pattern, "--here"]
        command += ["--seconds", str(options.seconds)]
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        found += json.loads(done.stdout.splitlines()[-1])
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if found:
        print(markdown(found))


if __name__ == "__main__":
    main()
