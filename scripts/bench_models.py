"""Whole models: our build and other engines, in turn, at three shapes, with one thread and two.

    python scripts/bench_models.py [MODEL ...] [--threads 1 2] [--seconds 3] [--json FILE]

Each model is built once. Each number of threads then gets a process of its own, in which the
engines run in bursts that take turns, so that neither pool of threads spins against the other;
figures are medians, and ratios are the other engine's time over ours. At one thread it is processor
time, so that other programs on the machine count for less; builds are given in it, too. At several,
only what was timed while the cores were free counts (cores.py). Results
that differ by more than 1e-3 from ONNX Runtime's are marked and count as no ratio. With --json, the
rows of other models that the file holds stay, so that models can be measured one by one.

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

Sizes = dict[str, int]
TOLERANCE = 1e-3


def pages(*sides: tuple[int, int, int]) -> list[Sizes]:
    """Batches of images of the PaddleOCR detectors."""
    names = [f"p2o_DynamicDimension_{axis}" for axis in range(3)]
    return [dict(zip(names, side, strict=True)) for side in sides]


def lines(**height: int) -> list[Sizes]:
    """Lines of text for the PaddleOCR recognisers."""
    names = [f"p2o_DynamicDimension_{axis}" for axis in range(2)]
    return [dict(zip(names, size, strict=True), **height) for size in ((1, 96), (1, 320), (8, 320))]


def each(**sizes: tuple[int, int, int]) -> list[Sizes]:
    """Small, typical and large from three values of each dim."""
    return [dict(zip(sizes, column, strict=True)) for column in zip(*sizes.values(), strict=True)]


SECOND = 16_000  # samples
CLIPS = (SECOND, 10 * SECOND, 30 * SECOND)
ONE = (1, 1, 1)
WINDOWS = each(input_d0=(1, 4, 64), input_d1=(512, 512, 512), state_d1=(1, 4, 64))

SHAPES: dict[str, list[Sizes]] = {
    "320n": each(batch=ONE, height=(160, 320, 640), width=(160, 320, 640)),
    "ch_PP-OCRv3_det_infer": pages((1, 160, 160), (1, 480, 640), (1, 960, 960)),
    "ch_PP-OCRv3_rec_infer": lines(),
    "ch_PP-OCRv4_det_infer": pages((1, 160, 160), (1, 480, 640), (1, 960, 960)),
    "ch_PP-OCRv4_rec_infer": lines(x_d2=48),
    "ch_ppocr_mobile_v2.0_cls_infer": each(x_d0=(1, 1, 8), x_d2=(48, 48, 48), x_d3=(96, 192, 192)),
    "embedding_model": each(unk__314=(1, 4, 32)),
    "fknetwork.dynamic": each(N=(1, 64, 4096)),
    "fknetwork_int8": each(N=(1, 64, 4096)),
    "kaldi_conv": each(batch_size=ONE, N=CLIPS),
    "magika": each(unk__214=(1, 8, 64)),
    "melspectrogram": each(batch_size=ONE, samples=CLIPS),
    "model_v8": each(N=(1, 4, 16)),
    "nemo80": each(batch_size=ONE, N=CLIPS),
    "nemo80_conv": each(batch_size=ONE, N=CLIPS),
    "nmp": each(unk__749=(1, 2, 8)),
    "onet": each(N=(1, 8, 64)),
    "pnet": each(N=ONE, M1=(48, 240, 480), M2=(64, 320, 640)),
    "resample_48_16": each(batch_size=ONE, N=(3 * CLIPS[0], 3 * CLIPS[1], 3 * CLIPS[2])),
    "rnet": each(N=(1, 16, 256)),
    "sig_bak_ovr": each(N=(1, 2, 8)),
    "silero_vad": WINDOWS,
    "silero_vad_16k_sequence": each(sequence_length=(1, 32, 512)),
    "silero_vad_v5": WINDOWS,
    "silero_vad_v6": each(seq_len=(1, 32, 512)),
}
"""Sizes of the inputs' symbols: small, typical, large."""


DETECTORS = ("ch_PP-OCRv3_det_infer", "ch_PP-OCRv4_det_infer")
"""Models that find nothing in noise, so that no relative error could be told."""


def page(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Light pages with rows of dark strokes, float32 in [-1, 1]."""
    image = np.full(shape, 0.9, np.float32)
    for top in range(8, shape[-2] - 20, 24):
        for left in range(8, shape[-1] - 8, 12):
            image[..., top : top + 14, left : left + int(rng.integers(0, 9))] = -0.8
    return image


def build(path: Path, folder: Path) -> dict[str, Any]:
    """Build a model, write its library and one file of inputs for each shape."""
    import onnx
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


def measure(path: Path, folder: Path, threads: int, seconds: float, mnn: Path | None) -> list[dict]:
    """The rows of one model at one number of threads; for a fresh process."""
    import onnxruntime
    import tvm
    from check_models import difference
    from cores import timed_in_turn
    from peers import PEERS
    from tvm import relax

    library = tvm.runtime.load_module(str(folder / "model.so"))
    main = relax.VirtualMachine(library, tvm.cpu())["main"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    others = {name: peer(path, threads, mnn) for name, peer in PEERS.items()}
    rows = []
    for number, sizes in enumerate(SHAPES[path.stem]):
        with np.load(folder / f"{number}.npz") as file:
            arrays = [file[f"arr_{k}"] for k in range(len(names))]
        feed = dict(zip(names, arrays, strict=True))
        us = partial(main, *(tvm.runtime.tensor(array) for array in arrays))
        them = partial(session.run, None, feed)
        expected, found = them(), us()
        results = [found] if len(expected) == 1 else list(found)
        error = max(difference(a.numpy(), b) for a, b in zip(results, expected, strict=True))
        shape = " ".join("x".join(map(str, array.shape)) for array in arrays if array.ndim)
        row: dict[str, Any] = {"sizes": sizes, "shape": shape, "threads": threads, "error": error}
        ours, theirs = timed_in_turn(us, them, seconds, threads)
        row |= {"ours_ms": ours * 1e3, "onnxruntime": theirs / ours}
        for name, prepare in others.items():
            if prepare is not None:
                ours, theirs = timed_in_turn(us, prepare(feed), seconds, threads)
                row[name] = theirs / ours
        rows.append(row)
    return rows


def in_process(arguments: list[str], threads: int) -> list[dict]:
    """The rows that this script prints as JSON when started anew."""
    environment = {**os.environ, "TVM_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, *arguments, "--threads", str(threads)]
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
            if row["error"] > TOLERANCE:
                text.append(f"wrong: {name} {row['shape']} is off by {row['error']:.1e}")
            elif row["onnxruntime"] < 1:
                text.append(
                    f"below 1: {name} {row['shape']}, threads {row['threads']}: "
                    f"{row['onnxruntime']:.2f}"
                )
    return "\n".join(text)


def _rows(models: dict[str, dict]) -> list[dict]:
    return [row for model in models.values() for row in model["rows"]]


def _counts(row: dict, peer: str) -> bool:
    return peer in row and row["error"] <= TOLERANCE


def _ratio(row: dict, peer: str) -> str:
    if peer not in row:
        return ""
    return f"{row[peer]:.2f}" if _counts(row, peer) else "wrong"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("models", nargs="*", help="names without .onnx; default: all")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each pair of engines")
    parser.add_argument("--json", type=Path, help="read and write the rows here")
    parser.add_argument("--mnn", type=Path, help="a folder with MODEL.mnn files")
    parser.add_argument("--from", dest="folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Build, measure, print; 1 where a result is wrong or a model fails."""
    from tvm_sod2.models import fetch

    arguments = _arguments()
    if arguments.folder:
        path = fetch(arguments.models[0])
        (threads,) = arguments.threads
        rows = measure(path, arguments.folder, threads, arguments.seconds, arguments.mnn)
        print(json.dumps(rows))
        return 0
    known = arguments.json is not None and arguments.json.exists()
    held = json.loads(arguments.json.read_text()) if known else {}
    failed = False
    for name in arguments.models or sorted(SHAPES):
        with tempfile.TemporaryDirectory() as folder:
            again = [name, "--from", folder, "--seconds", str(arguments.seconds)]
            again += ["--mnn", str(arguments.mnn)] if arguments.mnn else []
            try:
                model = build(fetch(name), Path(folder))
                model["rows"] = [r for n in arguments.threads for r in in_process(again, n)]
            except Exception as error:
                failed = True
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                continue
        held[name] = model
        failed |= any(row["error"] > TOLERANCE for row in model["rows"])
        brief = ", ".join(f"{row['onnxruntime']:.2f}" for row in model["rows"])
        print(f"{name}: {model['build_cpu_s']:.1f} s, {brief}", file=sys.stderr, flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(held, indent=1) + "\n")
    if held:
        print(markdown(held))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
