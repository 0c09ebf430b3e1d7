"""GEMM with constant weights: every remainder of rows and columns, every kind of epilogue."""

from dataclasses import replace

import numpy as np
import pytest
from kernel_cases import (
    Case,
    Compiled,
    close,
    dims,
    gelu,
    hardswish,
    hardswish_relax,
    random,
    relu,
    tensor,
)
from tvm import relax

from tvm_sod2.schedules.traits import Traits, host_target

op = relax.op

ROWS = (0, 1, 2, 3, 5, 6, 7, 11, 12, 13, 23, 25)
COLUMNS = (1, 15, 16, 17, 24, 31, 33, 48, 120, 360)
DEPTH = 37


def _cases() -> dict[str, Case]:
    (m,) = dims("m")
    cases = {}
    for n in COLUMNS:
        cases[f"bias_relu_{n}"] = Case(
            lambda x, w, b: op.nn.relu(op.add(op.matmul(x, w), b)),
            [tensor(m, DEPTH)],
            [random(DEPTH, n), random(n)],
        )
    b, s = dims("b s")
    cases["residual"] = Case(
        lambda x, r, w: op.add(op.matmul(x, w), r),
        [tensor(b, s, DEPTH), tensor(b, s, 40)],
        [random(DEPTH, 40)],
    )
    cases["gelu"] = Case(
        lambda x, w, c: op.nn.gelu(op.add(op.matmul(x, w), c)),
        [tensor(b, s, DEPTH)],
        [random(DEPTH, 40), random(40)],
    )
    cases["row_scale"] = Case(
        lambda x, r, w: op.multiply(op.matmul(x, w), r),
        [tensor(b, s, DEPTH), tensor(b, 1, 40)],
        [random(DEPTH, 40)],
    )
    n, h, w = dims("n h w")
    cases["pointwise"] = Case(
        lambda x, k, c: hardswish_relax(
            op.add(op.nn.conv2d(x, k, data_layout="NHWC", kernel_layout="OHWI"), c)
        ),
        [tensor(n, h, w, DEPTH)],
        [random(40, 1, 1, DEPTH), random(40)],
    )
    cases["no_depth"] = Case(
        lambda x, k: op.add(op.matmul(x, k), relax.const(1.0, "float32")),
        [tensor(m, 0)],
        [random(0, 5)],
    )
    cases["unit_batches"] = Case(
        lambda x, k: op.matmul(x, k), [tensor(b, s, m, DEPTH)], [random(1, 1, DEPTH, 9)]
    )
    return cases


@pytest.fixture(scope="module")
def run() -> Compiled:
    return Compiled(_cases())


def test_all_are_emitted(run: Compiled) -> None:
    assert all(choice.startswith("gemm ") for choice in run.choices.values()), run.choices


@pytest.mark.parametrize("n", COLUMNS)
def test_rows_and_columns(run: Compiled, n: int) -> None:
    w, bias = random(DEPTH, n), random(n)
    for m in ROWS:
        x = random(m, DEPTH)
        close(run(f"bias_relu_{n}", x), relu(x.astype(float) @ w + bias))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("rows", [1, 5, 13])
def test_epilogues(run: Compiled, batch: int, rows: int) -> None:
    x, w, bias = random(batch, rows, DEPTH), random(DEPTH, 40), random(40)
    product = x.astype(float) @ w
    residual, scale = random(batch, rows, 40), random(batch, 1, 40)
    close(run("residual", x, residual), product + residual)
    close(run("gelu", x), gelu(product + bias))
    close(run("row_scale", x, scale), product * scale)


def test_pointwise_convolution(run: Compiled) -> None:
    w, bias = random(40, 1, 1, DEPTH), random(40)
    for shape in ((1, 1, 1), (2, 3, 7), (1, 6, 8)):
        x = random(*shape, DEPTH)
        close(run("pointwise", x), hardswish(x.astype(float) @ w[:, 0, 0].T + bias))


def test_no_depth_gives_zeros(run: Compiled) -> None:
    assert np.array_equal(run("no_depth", np.zeros((7, 0), np.float32)), np.ones((7, 5)))


def test_weights_with_unit_batches(run: Compiled) -> None:
    x = random(2, 3, 5, DEPTH)
    close(run("unit_batches", x), x.astype(float) @ random(1, 1, DEPTH, 9))


def test_weights_larger_than_the_caches() -> None:
    """Groups of two panels, and stripes of rows for three threads."""
    traits = replace(Traits.from_target(host_target()), l2_bytes=32 * 1024, cores=3)
    lanes = traits.lanes("float32")
    (m,), (k, n) = dims("m"), (64, 10 * lanes + 1)
    w, bias = random(k, n), random(n)
    run = Compiled(
        {
            "plain": Case(lambda x, w: op.matmul(x, w), [tensor(m, k)], [w]),
            "bias": Case(lambda x, w, b: op.add(op.matmul(x, w), b), [tensor(m, k)], [w, bias]),
        },
        traits,
    )
    for rows in (0, 1, 13, 383, 583):
        x = random(rows, k)
        close(run("plain", x), x.astype(float) @ w)
        close(run("bias", x), x.astype(float) @ w + bias)
