"""What Rank and Dimension Propagation costs, on generated networks of 500 to 8,000 operators.

Each network is a chain of units as dynamic networks have them: convolutions, elementwise operators,
a concat, a branch at half the resolution that has to meet its skip connection again, and attention
between two reshapes whose shapes are computed from Shape; the resolution is halved four times on
the way. A second input has to agree with the first, so that RDP sweeps more than once. Times are
the least of several runs, in seconds.

Usage: python scripts/bench_rdp.py [--sizes 500 1000 ...] [--plot FILE.svg] [--profile SIZE]
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import pstats
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tvm
from tvm import relax, tirx

from tvm_sod2.passes.fold_shapes import fold_shapes
from tvm_sod2.passes.rdp import propagate

CHANNELS = 32
HALVINGS = 4
LIMIT_SECONDS = 2.0
"""For 1,000 operators."""
LIMIT_GROWTH = 2 * 1.3
"""From one size to twice the size."""


@dataclass
class Times:
    """One network's size and times in seconds."""

    operators: int
    analysis: float
    folding: float
    """Analysis and rewriting together."""


class Network:
    """Emits units until there are enough operators."""

    def __init__(self, operators: int) -> None:
        self.bb = relax.BlockBuilder()
        self.count = 0
        self.total = operators
        self.rng = np.random.default_rng(0)

    def build(self) -> tvm.IRModule:
        n, h, w, mask_h, mask_w = (tirx.Var(s, "int64") for s in ("n", "h", "w", "mh", "mw"))
        image = relax.Var("image", relax.TensorType([n, CHANNELS, h, w], "float32"))
        mask = relax.Var("mask", relax.TensorType([n, CHANNELS, mask_h, mask_w], "float32"))
        with self.bb.function("main", [image, mask]):
            with self.bb.dataflow():
                masked = self.named(relax.op.multiply(image, mask), "masked")
                result = self.bb.emit_output(self.units(masked))
            self.bb.emit_func_output(result)
        return self.bb.get()

    def units(self, x: relax.Expr) -> relax.Expr:
        halved = 0
        while self.count < self.total:
            if self.count * (HALVINGS + 1) >= self.total * (halved + 1):
                x = self.half(x)
                halved += 1
            x = self.attention(self.hourglass(self.convolutions(x)))
        return x

    def emit(self, expr: relax.Expr) -> relax.Var:
        self.count += 1
        return self.bb.emit(expr)

    def named(self, expr: relax.Expr, name: str) -> relax.Var:
        """An operator whose dims nobody knows before RDP, as an importer binds it."""
        raw = self.emit(expr)
        dims = [tirx.Var(f"{name}_{axis}", "int64") for axis in range(4)]
        self.count += 1
        return self.bb.match_cast(raw, relax.TensorType(dims, "float32"))

    def half(self, x: relax.Expr) -> relax.Var:
        return self.emit(relax.op.nn.max_pool2d(x, (3, 3), (2, 2), (1, 1, 1, 1)))

    def weight(self, *shape: int) -> relax.Expr:
        return relax.const(self.rng.normal(size=shape).astype("float32"))

    def convolutions(self, x: relax.Expr) -> relax.Var:
        """A gated convolution with a residual: nine operators."""
        op = relax.op
        kernel = self.weight(CHANNELS, CHANNELS, 3, 3)
        convolved = self.emit(op.nn.conv2d(x, kernel, padding=(1, 1)))
        biased = self.emit(op.add(convolved, self.weight(1, CHANNELS, 1, 1)))
        gate = self.emit(op.sigmoid(biased))
        gated = self.emit(op.multiply(biased, gate))
        rectified = self.emit(op.nn.relu(biased))
        both = self.emit(op.concat([gated, rectified], axis=1))
        mixed = self.emit(op.nn.conv2d(both, self.weight(CHANNELS, 2 * CHANNELS, 1, 1)))
        return self.named(op.add(mixed, x), f"c{self.count}")

    def hourglass(self, x: relax.Var) -> relax.Var:
        """Half the resolution and back, added to what came in: five operators.

        Nothing says that the sizes are even: each unit adds conditions for the check at entry.
        """
        op = relax.op
        small = self.half(x)
        height, width = small.ty.shape[2], small.ty.shape[3]
        size = relax.ShapeExpr([height * 2, width * 2])
        large = self.emit(op.image.resize2d(self.emit(op.nn.relu(small)), size))
        return self.named(op.add(x, large), f"d{self.count}")

    def attention(self, x: relax.Var) -> relax.Var:
        """Rows of pixels through a linear layer, their shape computed as exporters write it."""
        op = relax.op
        shape = self.emit(op.shape_to_tensor(self.emit(op.shape_of(x))))
        batch, height, width = (
            self.emit(op.take(shape, relax.const([axis], "int64"), axis=0, mode="clip"))
            for axis in (0, 2, 3)
        )
        channels = relax.const([CHANNELS], "int64")
        pixels = self.emit(op.multiply(height, width))
        rows = self.reshape(x, [batch, channels, pixels])
        turned = self.emit(op.permute_dims(rows, [0, 2, 1]))
        mapped = self.emit(op.matmul(turned, self.weight(CHANNELS, CHANNELS)))
        weights = self.emit(op.nn.softmax(mapped, axis=-1))
        back = self.emit(op.permute_dims(weights, [0, 2, 1]))
        return self.reshape(back, [batch, channels, height, width])

    def reshape(self, x: relax.Var, parts: Sequence[relax.Expr]) -> relax.Var:
        """A reshape whose dims nobody knows before RDP."""
        target = self.emit(relax.op.concat(list(parts), axis=0))
        shape = self.emit(relax.op.tensor_to_shape(target))
        dims = [tirx.Var(f"d{self.count}_{axis}", "int64") for axis in range(len(parts))]
        self.count += 1
        self.bb.match_cast(shape, relax.ShapeType(dims))
        return self.emit(relax.op.reshape(x, relax.ShapeExpr(dims)))


def least(call: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(operators: int, repeats: int) -> Times:
    """Times of one network, after a check that every dim is found."""
    network = Network(operators)
    mod = network.build()
    func = mod["main"]
    left = len(propagate(func).origins)
    if left:
        raise SystemExit(f"{left} dims of the generated network are not found")
    return Times(
        network.count,
        least(lambda: propagate(func), repeats),
        least(lambda: fold_shapes(mod), repeats),
    )


def table(results: list[Times]) -> str:
    """The times in Markdown, with the growth from each size to the next."""
    lines = [
        "| operators | RDP, s | per operator, ms | growth per doubling | with rewriting, s |",
        "| --: | --: | --: | --: | --: |",
    ]
    for before, now in zip([None, *results], results, strict=False):
        growth = "" if before is None else f"{per_doubling(before, now):.2f}"
        lines.append(
            f"| {now.operators} | {now.analysis:.2f} | {1e3 * now.analysis / now.operators:.2f} | "
            f"{growth} | {now.folding:.2f} |"
        )
    return "\n".join(lines)


def per_doubling(before: Times, now: Times) -> float:
    """How many times as long twice the operators take."""
    doublings = np.log2(now.operators / before.operators)
    return float((now.analysis / before.analysis) ** (1 / doublings))


def plot(results: list[Times], path: Path) -> None:
    """Time over operators, both logarithmic, beside a straight line of linear growth."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "rdp", "font.size": 9}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4.8, 3.2), layout="constrained")
    sizes = [r.operators for r in results]
    linear = [results[0].analysis * size / sizes[0] for size in sizes]
    axes.loglog(sizes, [r.analysis for r in results], "o-", label="RDP")
    axes.loglog(sizes, [r.folding for r in results], "s-", label="RDP and rewriting")
    axes.loglog(sizes, linear, "k:", label="linear")
    axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
    axes.set_yticks(seconds := [0.25 * 2**i for i in range(6)], [f"{s:g}" for s in seconds])
    axes.minorticks_off()
    axes.set(xlabel="Relax operators", ylabel="seconds")
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def profile(operators: int) -> None:
    """Print where the time of one analysis goes."""
    func = Network(operators).build()["main"]
    profiler = cProfile.Profile()
    profiler.runcall(propagate, func)
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(40)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 2000, 4000, 8000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="write the plot to this SVG file")
    parser.add_argument("--profile", type=int, metavar="SIZE", help="profile this size instead")
    arguments = parser.parse_args(argv)
    if arguments.profile:
        profile(arguments.profile)
        return 0
    results = []
    for size in arguments.sizes:
        print(f"{size} operators", file=sys.stderr, flush=True)
        results.append(measure(size, arguments.repeats))
    print(table(results))
    if arguments.plot:
        plot(results, arguments.plot)
    slow = [r for r in results if r.analysis > LIMIT_SECONDS * max(1, r.operators / 1000)]
    steep = [r for b, r in itertools.pairwise(results) if per_doubling(b, r) > LIMIT_GROWTH]
    for result in slow:
        print(f"too slow: {result.operators} operators")
    for result in steep:
        print(f"grows too fast: up to {result.operators} operators")
    return 1 if slow or steep else 0


if __name__ == "__main__":
    sys.exit(main())
