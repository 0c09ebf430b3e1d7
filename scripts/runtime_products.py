"""Cases of bench_kernels.py: matrix products of two run-time operands, all their dims symbolic."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np
from kernel_timing import Case, built, session
from onnx import helper

# Rows, reduction, columns: a row, a column, square, tall and wide.
SIZES = (
    (1, 512, 512),
    (512, 512, 1),
    (300, 300, 300),
    (1000, 64, 1000),
    (12, 768, 64),
    (1000, 512, 4),
    (1, 2000, 2000),
    (2000, 2000, 1),
    (64, 64, 64),
    (128, 128, 128),
    (512, 512, 512),
    (4, 512, 1000),
    (1000, 1000, 16),
    (1000, 1, 1000),
    (1000, 7, 64),
    (7, 64, 7),
    (1, 1000, 1),
    (200, 200, 15),
    (500, 30, 7),
    (1009, 17, 13),
    (5000, 3, 3),
    (5000, 8, 4),
    (5000, 16, 1),
    (5000, 16, 2),
    (50000, 1, 2),
)

# Those that lie transposed: of few steps, and of few rows.
TURNED = (*SIZES[:6], (1000, 1, 1000), (1000, 3, 1000), (1, 10, 10000), (2, 1, 50000))


def runtime_products() -> Iterator[Any]:
    """Each size plain; some in batches of 12, some with an operand transposed."""

    @cache
    def programs(batches: int, turned: str) -> Any:
        lead = ["b"] if batches > 1 else []
        last = list(range(len(lead)))
        nodes: list[Any] = []
        names: list[str] = []
        dims: list[list[str]] = []
        for name, shape in (("a", ["m", "k"]), ("b", ["k", "n"])):
            given = f"x{len(names)}"
            dims.append([*lead, *(reversed(shape) if name == turned else shape)])
            if name == turned:
                order = [*last, len(last) + 1, len(last)]
                nodes.append(helper.make_node("Transpose", [given], [name], perm=order))
            names.append(name if name == turned else given)
        nodes.append(helper.make_node("MatMul", names, ["y"]))
        return built(nodes, dims), session(nodes, [len(shape) for shape in dims], [])

    def prepare(m: int, k: int, n: int, batches: int, turned: str) -> Any:
        rng = np.random.default_rng(0)
        shapes = {"a": (m, k), "b": (k, n)}
        arrays = [
            rng.standard_normal((batches, *(shape[::-1] if name == turned else shape)))
            for name, shape in shapes.items()
        ]
        arrays = [(x if batches > 1 else x[0]).astype(np.float32) for x in arrays]
        ours, theirs = programs(batches, turned)
        return ours(*arrays), theirs(*arrays)

    for batches, turned, sizes in (
        (1, "", SIZES),
        (1, "a", SIZES[:6]),
        (1, "b", TURNED),
        (12, "", ((1, 64, 512), (1, 512, 64), (128, 64, 128), (128, 128, 64), (400, 64, 1))),
        (12, "b", ((1, 64, 512), (128, 64, 128))),
        (100, "", ((5, 30, 5), (16, 16, 16), (100, 1, 100))),
    ):
        for m, k, n in sizes:
            name = f"{m}x{k}x{n}{f' {turned} transposed' if turned else ''}"
            name = name if batches == 1 else f"{batches} of {name}"
            whole = partial(prepare, m, k, n, batches, turned)
            yield Case("gemm of two", f"gemm of two {name}", 2.0 * batches * m * k * n, whole)
