"""Whole models: our build and other engines, in turn, at three shapes, with one thread and two.

    python scripts/bench_models.py [MODEL ...] [--threads 1 2] [--seconds 3] [--json FILE]

Each model is built once. Each number of threads and each other engine then gets a process of its
own, in which ours and the other run in bursts that take turns, so that neither pool of threads
spins against the other; figures are medians, and ratios are the other engine's time over ours. At
one thread it is processor time, so that other programs on the machine count for less; builds are
given in it, too. At several, only what was timed while the cores were free counts (cores.py).
Results of ours that differ by more than 1e-3 from ONNX Runtime's are marked and count as no ratio,
nor do those of a third engine that differ from ours. With --json, the rows of other models that the
file holds stay, so that models can be measured one by one.

ONNX Runtime is always there. OpenVINO is a further column where Python can import it. MNN reads
only its own format, which its converter makes: --mnn names a folder with MODEL.mnn files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = 1e-3


def build(path: Path, folder: Path) -> dict[str, Any]:
    """Build a model, write its library and one file of inputs for each shape."""
    import onnx
    from model_inputs import DETECTORS, SHAPES, page
    from rdp_comparison import draw_inputs

    import tvm_sod2

    warnings.simplefilter("ignore")
    start = time.process_time()
    mod = tvm_sod2.from_onnx(path)
    executable = tvm_sod2.build(mod)
    seconds = time.process_time() - start
    executable.export_library(str(folder / "model.so"))
    report = tvm_sod2.analyze(mod).to_json()
    for number, sizes in enumerate(SHAPES[path.stem]):
        rng = np.random.default_rng(0)
        feed = draw_inputs(report, sizes, rng)
        if path.stem in DETECTORS:
            feed = {name: page(array.shape, rng) for name, array in feed.items()}
        np.savez(folder / f"{number}.npz", *feed.values())
    weights = sum(tensor.ByteSize() for tensor in tensors(onnx.load(path).graph))
    size = (folder / "model.so").stat().st_size
    return {"build_cpu_s": seconds, "library_bytes": size, "beyond_weights_bytes": size - weights}


def tensors(graph: Any) -> Iterator[Any]:
    """All constants of a graph and of the graphs inside."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from tensors(inner)


def measure(
    path: Path, folder: Path, threads: int, engine: str, seconds: float, mnn: Path | None
) -> list[dict]:
    """The rows of one model beside one engine; for a fresh process."""
    import tvm
    from check_models import difference
    from cores import timed_in_turn
    from model_inputs import SHAPES
    from peers import PEERS
    from tvm import relax

    prepare = PEERS[engine](path, threads, mnn)
    if prepare is None:
        return []
    library = tvm.runtime.load_module(str(folder / "model.so"))
    vm = relax.VirtualMachine(library, tvm.cpu())
    main = vm["main"]
    inputs = [value["name"] for value in json.loads(vm["sod2_metadata"]())["inputs"]]
    rows = []
    for number, sizes in enumerate(SHAPES[path.stem]):
        with np.load(folder / f"{number}.npz") as file:
            arrays = [file[f"arr_{k}"] for k in range(len(inputs))]
        us = partial(main, *(tvm.runtime.tensor(array) for array in arrays))
        them = prepare(dict(zip(inputs, arrays, strict=True)))
        expected, found = them(), us()
        results = [found] if len(expected) == 1 else list(found)
        error = max(difference(a.numpy(), b) for a, b in zip(results, expected, strict=True))
        ours, theirs = timed_in_turn(us, them, seconds, threads)
        row: dict[str, Any] = {
            "sizes": sizes,
            "shape": " ".join("x".join(map(str, array.shape)) for array in arrays if array.ndim),
            "threads": threads,
            "ours_ms": ours * 1e3,
            engine: theirs / ours,
            "errors": {engine: error},
        }
        rows.append(row)
    return rows


def together(path: Path, arguments: argparse.Namespace, folder: Path) -> list[dict]:
    """The rows of one model beside all engines; what a third one can't do is left out and told."""
    rows = []
    for threads in arguments.threads:
        beside = in_process(path, folder, threads, "onnxruntime", arguments)
        for engine in ("openvino", "mnn"):
            try:
                others = in_process(path, folder, threads, engine, arguments)
            except RuntimeError as error:
                print(f"{path.stem}: {engine}: {error}", file=sys.stderr, flush=True)
                continue
            for row, other in zip(beside, others, strict=False):
                row[engine] = other[engine]
                row["errors"] |= other["errors"]
        rows += beside
    return rows


def in_process(
    path: Path, folder: Path, threads: int, engine: str, arguments: argparse.Namespace
) -> list[dict]:
    """The rows that this script prints as JSON when started anew."""
    environment = {**os.environ, "TVM_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, path.stem, "--from", str(folder), "--engine", engine]
    command += ["--threads", str(threads), "--seconds", str(arguments.seconds)]
    command += ["--mnn", str(arguments.mnn)] if arguments.mnn else []
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"exit status {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def markdown(models: dict[str, dict]) -> str:
    """The table of all rows, the geometric means, and what is below 1."""
    peers = [p for p in ("onnxruntime", "openvino", "mnn") if any(p in r for r in _rows(models))]
    threads = sorted({row["threads"] for row in _rows(models)})
    columns = [f"{peer}, {n}" for n in threads for peer in peers]
    text = [
        f"| model | inputs | {' | '.join(f'ours ms, {n}' for n in threads)} | "
        + " | ".join(columns)
        + " | build CPU s | beyond weights MB |",
        "| --- | --- |" + " --: |" * (len(threads) + len(columns) + 2),
    ]
    for name, model in sorted(models.items()):
        shapes = list(dict.fromkeys(row["shape"] for row in model["rows"]))
        for shape in shapes:
            at = {row["threads"]: row for row in model["rows"] if row["shape"] == shape}
            cells = [f"{at[n]['ours_ms']:.3g}" if n in at else "" for n in threads]
            cells += [_ratio(at.get(n, {}), peer) for n in threads for peer in peers]
            last = ["", ""]
            if shape == shapes[0]:
                last = [f"{model['build_cpu_s']:.1f}", f"{model['beyond_weights_bytes'] / 1e6:.1f}"]
            text.append(f"| {name} | {shape} | {' | '.join([*cells, *last])} |")
    text.append("")
    for n in threads:
        for peer in peers:
            right = [r for r in _rows(models) if r["threads"] == n and _counts(r, peer)]
            mean = np.exp(np.mean([np.log(row[peer]) for row in right]))
            text.append(f"{peer}, threads {n}: geometric mean {mean:.2f} over {len(right)} rows")
    for name, model in sorted(models.items()):
        for row in model["rows"]:
            if not _right(row, "onnxruntime"):
                error = row["errors"]["onnxruntime"]
                text.append(f"wrong: {name} {row['shape']} is off by {error:.1e}")
                continue
            where = f"{name} {row['shape']}, threads {row['threads']}"
            slow = [peer for peer in peers if _counts(row, peer) and row[peer] < 1]
            text += [f"below 1: {where}: {row[peer]:.2f} of {peer}" for peer in slow]
    return "\n".join(text)


def _rows(models: dict[str, dict]) -> list[dict]:
    return [row for model in models.values() for row in model["rows"]]


def _right(row: dict, peer: str) -> bool:
    return row["errors"][peer] <= TOLERANCE


def _counts(row: dict, peer: str) -> bool:
    return peer in row and _right(row, "onnxruntime") and _right(row, peer)


def _ratio(row: dict, peer: str) -> str:
    if peer not in row:
        return ""
    if _counts(row, peer):
        return f"{row[peer]:.2f}"
    return "differs" if _right(row, "onnxruntime") else "wrong"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("models", nargs="*", help="names without .onnx; default: all")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each pair of engines")
    parser.add_argument("--json", type=Path, help="read and write the rows here")
    parser.add_argument("--mnn", type=Path, help="a folder with MODEL.mnn files")
    parser.add_argument("--from", dest="folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Build, measure, print; 1 where a result is wrong or a model fails."""
    from model_inputs import SHAPES

    from tvm_sod2.models import fetch

    arguments = _arguments()
    if arguments.folder:
        path = fetch(arguments.models[0])
        (threads,) = arguments.threads
        engine, seconds, mnn = arguments.engine, arguments.seconds, arguments.mnn
        rows = measure(path, arguments.folder, threads, engine, seconds, mnn)
        print(json.dumps(rows))
        return 0
    known = arguments.json is not None and arguments.json.exists()
    held = json.loads(arguments.json.read_text()) if known else {}
    failed = False
    for name in arguments.models or sorted(SHAPES):
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = fetch(name)
                model = build(path, Path(folder))
                model["rows"] = together(path, arguments, Path(folder))
            except Exception as error:
                failed = True
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                continue
        held[name] = model
        failed |= not all(_right(row, "onnxruntime") for row in model["rows"])
        brief = ", ".join(f"{row['onnxruntime']:.2f}" for row in model["rows"])
        print(f"{name}: {model['build_cpu_s']:.1f} s, {brief}", file=sys.stderr, flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(held, indent=1) + "\n")
    if held:
        print(markdown(held))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
