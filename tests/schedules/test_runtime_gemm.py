"""Products of two run-time operands: any dim symbolic, any of them small or zero."""

from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from kernel_cases import Case, Compiled, close, dims, gelu, random, tensor
from tvm import relax

op = relax.op

LENGTHS = (1, 2, 5, 7, 8, 9, 13, 16, 31, 32, 33, 50)


# Which operands of a product lie transposed, and M, K, N.
STATIC = (
    ("b", (1, 70, 37)),
    ("b", (21, 33, 1)),
    ("a", (1, 5, 40)),
    ("a", (33, 20, 1)),
    ("ab", (1, 40, 1)),
)


def turned(which: str, x: Any, y: Any, bias: Any) -> Any:
    """GELU of a product plus a bias for each column, and a multiple of it."""
    sides = [
        op.permute_dims(side, [*range(side.ty.ndim - 2), side.ty.ndim - 1, side.ty.ndim - 2])
        if name in which
        else side
        for name, side in (("a", x), ("b", y))
    ]
    return op.nn.gelu(op.add(op.matmul(*sides), bias))


def turned_types(which: str, b: Any, m: Any, k: Any, n: Any) -> list[relax.TensorType]:
    """The second operand has no batches."""
    x, y = ((k, m) if "a" in which else (m, k)), ((n, k) if "b" in which else (k, n))
    return [tensor(b, 2, *x), tensor(2, *y), tensor(n)]


def check_turned(run: Compiled, name: str, which: str, b: int, m: int, k: int, n: int) -> None:
    x, y, bias = random(b, 2, m, k), random(2, k, n), random(n)
    given = [
        np.ascontiguousarray(side.swapaxes(-1, -2)) if letter in which else side
        for letter, side in (("a", x), ("b", y))
    ]
    close(run(name, *given, bias), gelu(x.astype(float) @ y + bias))


@pytest.fixture(scope="module")
def run() -> Compiled:
    b, s, m, k, n = dims("b s m k n")
    return Compiled(
        {
            "scores": Case(
                lambda q, t: op.multiply(op.matmul(q, t), relax.const(0.25, "float32")),
                [tensor(b, 8, s, 15), tensor(b, 8, 15, s)],
            ),
            "values": Case(lambda p, v: op.matmul(p, v), [tensor(b, 8, s, s), tensor(b, 8, s, 15)]),
            "plain": Case(lambda x, y: op.nn.gelu(op.matmul(x, y)), [tensor(m, k), tensor(k, n)]),
            "broadcast": Case(
                lambda x, y: op.matmul(x, y), [tensor(b, 1, m, 16), tensor(8, 16, 20)]
            ),
            "batches": Case(lambda x, y: op.matmul(x, y), [tensor(b, s, m, k), tensor(s, k, n)]),
            **{
                f"turned_{which}": Case(partial(turned, which), turned_types(which, b, m, k, n))
                for which in ("a", "b", "ab")
            },
            **{
                f"turned_{which}_{'x'.join(map(str, sizes))}": Case(
                    partial(turned, which), turned_types(which, b, *sizes)
                )
                for which, sizes in STATIC
            },
            "one_column": Case(lambda x, y: op.matmul(x, y), [tensor(m, k), tensor(k, 1)]),
        }
    )


def test_all_are_emitted(run: Compiled) -> None:
    emitted = {name for name, choice in run.choices.items() if choice.startswith("run-time gemm")}
    assert emitted == set(run.choices)


@pytest.mark.parametrize("length", LENGTHS)
def test_attention(run: Compiled, length: int) -> None:
    q, t = random(2, 8, length, 15), random(2, 8, 15, length)
    close(run("scores", q, t), q.astype(float) @ t * 0.25)
    p, v = random(2, 8, length, length), random(2, 8, length, 15)
    close(run("values", p, v), p.astype(float) @ v)


@pytest.mark.parametrize(("m", "k"), list(product((0, 1, 6, 13), (0, 1, 5, 64))))
def test_any_dim(run: Compiled, m: int, k: int) -> None:
    for n in (0, 1, 7, 17, 32, 45):
        x, y = random(m, k), random(k, n)
        close(run("plain", x, y), gelu(x.astype(float) @ y))
    close(run("one_column", random(m, k), random(k, 1)), random(m, k).astype(float) @ random(k, 1))


@pytest.mark.parametrize("which", ["a", "b", "ab"])
@pytest.mark.parametrize("k", [0, 1, 5, 15, 16, 17, 31, 32, 33, 50, 335])
def test_transposed_operands(run: Compiled, which: str, k: int) -> None:
    """Nothing is copied first; every kernel that the dims choose among is reached."""
    assert "transposed" in run.choices[f"turned_{which}_group"]
    for m in (0, 1, 3, 4, 5, 8, 15, 16, 17, 33, 131):
        for n in (0, 1, 2, 7, 15, 16, 17, 31, 65, 129):
            check_turned(run, f"turned_{which}", which, 1 + (m + n) % 2, m, k, n)


@pytest.mark.parametrize(("which", "sizes"), STATIC)
def test_transposed_operands_of_known_size(
    run: Compiled, which: str, sizes: tuple[int, int, int]
) -> None:
    for b in (0, 1, 3):
        check_turned(run, f"turned_{which}_{'x'.join(map(str, sizes))}", which, b, *sizes)


@pytest.mark.parametrize("n", [32, 33, 47, 63, 64, 65, 100, 130])
def test_many_rows_share_packed_panels(run: Compiled, n: int) -> None:
    for m, k in ((20, 31), (20, 32), (23, 33), (61, 40)):
        x, y = random(m, k), random(k, n)
        close(run("plain", x, y), gelu(x.astype(float) @ y))
        x, y = random(2, 3, m, k), random(3, k, n)
        close(run("batches", x, y), x.astype(float) @ y)


def test_batches_broadcast(run: Compiled) -> None:
    for batch, m in ((3, 5), (1, 13)):
        x, y = random(batch, 1, m, 16), random(8, 16, 20)
        close(run("broadcast", x, y), x.astype(float) @ y)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 9, 15, 16])
@pytest.mark.parametrize("k", [0, 1, 3, 7, 8, 9, 31, 32, 33, 150])
def test_few_columns(run: Compiled, k: int, n: int) -> None:
    """Short vectors, whose lanes reach into the next rows, or dot products."""
    for m in (0, 1, 3, 4, 5, 8, 9, 17, 37):
        x, y = random(m, k), random(k, n)
        close(run("plain", x, y), gelu(x.astype(float) @ y))
        x, y = random(2, 3, m, k), random(3, k, n)
        close(run("batches", x, y), x.astype(float) @ y)


@pytest.mark.parametrize("n", [127, 128, 129, 1023, 1024, 1025, 1300, 4300])
def test_one_row(run: Compiled, n: int) -> None:
    for k in (0, 1, 17, 255, 256, 263):
        x, y = random(1, k), random(k, n)
        close(run("plain", x, y), gelu(x.astype(float) @ y))
        x, y = random(2, 3, 1, k), random(3, k, n)
        close(run("batches", x, y), x.astype(float) @ y)


def test_what_is_not_finite_stays_in_its_sum(run: Compiled) -> None:
    """The last vector of a row shares elements with the one before; they do not count twice."""
    x, y = random(5, 40), random(40, 2)
    x[2, 30], y[35, 1] = np.inf, 0.0
    x[3, 39] = np.nan
    (found,) = run("batches", x[None, None].repeat(3, 1), y[None].repeat(3, 0))
    with np.errstate(invalid="ignore"):
        expected = x @ y
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)
