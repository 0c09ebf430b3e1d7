"""Builds the development models once each and compares them with ONNX Runtime at random shapes.

    python scripts/check_models.py [model ...] [--shapes 5] [--seed 0] [--markdown FILE]

Prints a table: seconds to import and to build, and the worst difference over outputs and shapes,
relative to the largest element of the output. Discrete outputs have to be equal. A model is right
below 1e-3. Models are those that scripts/fetch_models.py has put into the cache.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import tvm
from model_inputs import DETECTORS, page
from rdp_comparison import SIZES, draw_inputs, draw_sizes
from tvm import relax

import tvm_sod2
from tvm_sod2.models import cache_folder

TOLERANCE = 1e-3

FOUND = 1e-2
"""A detector's map has less than that where it finds nothing; all of it is rounding then, by which
ONNX Runtime with and without its optimiser differ, too."""


@dataclass
class Result:
    """What a model did; ``problem`` is empty where it is right."""

    model: str
    importing: float = 0.0
    building: float = 0.0
    shapes: int = 0
    worst: float = 0.0
    problem: str = ""

    def row(self) -> str:
        verdict = self.problem or "right"
        return (
            f"| {self.model} | {self.importing:.1f} | {self.building:.1f} | {self.shapes} | "
            f"{self.worst:.1e} | {verdict} |"
        )


def check(path: Path, rng: np.random.Generator, count: int) -> Result:
    """Build a model and run it at `count` random shapes."""
    result = Result(path.stem)
    try:
        _check(path, rng, count, result)
    except Exception as error:  # the table says what it was
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        result.problem = f"{type(error).__name__}: {lines[-1] if lines else ''}"[:200]
    return result


def _check(path: Path, rng: np.random.Generator, count: int, result: Result) -> None:
    start = time.perf_counter()
    mod = tvm_sod2.from_onnx(path)
    result.importing = time.perf_counter() - start
    start = time.perf_counter()
    executable = tvm_sod2.build(mod)
    result.building = time.perf_counter() - start
    run = relax.VirtualMachine(executable, tvm.cpu())["main"]
    report = tvm_sod2.analyze(mod).to_json()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in onnx.load(path, load_external_data=False).graph.input]
    while result.shapes < count:
        sizes = draw_sizes(report["inputs"], SIZES.get(path.stem, {}), rng)
        feed = draw_inputs(report, sizes, rng)
        if path.stem in DETECTORS:
            feed = {name: page(array.shape, rng) for name, array in feed.items()}
        expected = session.run(None, feed)
        if path.stem in DETECTORS and expected[0].max() < FOUND:
            continue
        found = run(*(tvm.runtime.tensor(feed[name]) for name in names if name in feed))
        outputs = [found] if len(expected) == 1 else list(found)
        for mine, theirs in zip(outputs, expected, strict=True):
            result.worst = max(result.worst, difference(mine.numpy(), theirs))
        result.shapes += 1
    if result.worst > TOLERANCE:
        result.problem = "wrong"


def difference(mine: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, relative to the largest element; infinite for another shape."""
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return float("inf")
    if theirs.size == 0:
        return 0.0
    if theirs.dtype.kind != "f":
        return 0.0 if np.array_equal(mine, theirs) else float("inf")
    scale = max(float(np.nanmax(np.abs(theirs))), 1e-9)
    return float(np.nanmax(np.abs(mine.astype("float64") - theirs)) / scale)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("models", nargs="*", help="names without .onnx; default: all in the cache")
    parser.add_argument("--shapes", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", type=Path, help="write the table there too")
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    chosen = options.models or sorted(path.stem for path in cache_folder().glob("*.onnx"))
    lines = [
        "| model | import s | build s | shapes | worst relative error | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines))
    failed = False
    for name in chosen:
        rng = np.random.default_rng(options.seed)
        result = check(cache_folder() / f"{name}.onnx", rng, options.shapes)
        failed |= bool(result.problem)
        lines.append(result.row())
        print(lines[-1], flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
