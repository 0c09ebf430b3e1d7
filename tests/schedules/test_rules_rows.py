"""Chains along rows: softmax, layer norm and others, all stages of a row together."""

import numpy as np
import pytest
from rules_cases import Kernel, dims, fused, random, ruled_by, schedule, tensor
from tvm import relax

from tvm_sod2.schedules.rules import SCRATCH

op = relax.op
n, h, w, c = dims("nhwc")

SIZES = (1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 131)


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    x = x.astype(np.float64)
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def test_softmax() -> None:
    kernel = Kernel([tensor(n, w)], lambda bb, x: op.nn.softmax(x, axis=-1))
    assert ruled_by(kernel.func) == "schedule_rows"
    for rows in (0, 1, 3, 20):
        for columns in SIZES:
            x = random(rows, columns) * 8
            np.testing.assert_allclose(kernel(x)[0], softmax(x), rtol=5e-6, atol=1e-12)
    assert kernel(random(3, 0))[0].shape == (3, 0)


@pytest.mark.parametrize("columns", [1, 8, 18, 64, 6625])
def test_softmax_of_known_size(columns: int) -> None:
    kernel = Kernel([tensor(n, h, columns)], lambda bb, x: op.nn.softmax(x, axis=-1))
    for shape in [(1, 1), (2, 3), (1, 17)]:
        x = random(*shape, columns) * 8
        np.testing.assert_allclose(kernel(x)[0], softmax(x), rtol=5e-6, atol=1e-12)


def test_softmax_extremes() -> None:
    kernel = Kernel([tensor(n, w)], lambda bb, x: op.nn.softmax(x, axis=-1))
    x = random(4, 37)
    x[0] = -np.inf
    x[1, 3] = np.nan
    x[2, :20] = -np.inf
    x[3] *= 1e30
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(kernel(x)[0], softmax(x), rtol=5e-6, atol=1e-30)


def test_softmax_needs_no_scratch() -> None:
    func = schedule(fused([tensor(n, w)], lambda bb, x: op.nn.softmax(x, axis=-1)))
    assert SCRATCH not in func.attrs
    assert "alloc_buffer((w" not in func.script()


@pytest.mark.parametrize("axis", [0, 1])
def test_softmax_along_other_axes(axis: int) -> None:
    kernel = Kernel([tensor(n, h, w)], lambda bb, x: op.nn.softmax(x, axis=axis))
    for shape in [(1, 1, 1), (2, 3, 5), (3, 16, 17), (5, 4, 64), (2, 3, 65), (2, 7, 200)]:
        x = random(*shape) * 4
        np.testing.assert_allclose(kernel(x)[0], softmax(x, axis), rtol=5e-6)


def test_softmax_of_channels_first() -> None:
    kernel = Kernel([tensor(n, c, h, w)], lambda bb, x: op.nn.softmax(x, axis=1))
    assert ruled_by(kernel.func) == "schedule_rows"
    assert SCRATCH not in kernel.scheduled.attrs  # 64 columns at a time
    for shape in [(1, 1, 1, 1), (2, 3, 5, 17), (1, 16, 4, 65), (2, 5, 3, 128), (1, 3, 0, 4)]:
        x = random(*shape) * 4
        np.testing.assert_allclose(kernel(x)[0], softmax(x, 1), rtol=5e-6)


@pytest.mark.parametrize("channels", [3, 64, 96, 130])
def test_squeeze_and_excite_in_one_kernel(channels: int) -> None:
    def graph(bb: relax.BlockBuilder, x: relax.Var) -> relax.Expr:
        mean = bb.emit(op.mean(x, [1, 2], keepdims=True))
        return op.multiply(x, bb.emit(op.sigmoid(mean)))

    kernel = Kernel([tensor(n, h, w, channels)], graph)
    for shape in [(1, 1, 1), (2, 3, 5), (0, 2, 2)]:
        x = random(*shape, channels)
        mean = x.astype(np.float64).mean((1, 2), keepdims=True)
        np.testing.assert_allclose(kernel(x)[0], x / (1 + np.exp(-mean)), rtol=1e-5)


def test_columns_divided_by_their_norm() -> None:
    def graph(bb: relax.BlockBuilder, x: relax.Var) -> relax.Expr:
        square = bb.emit(op.sum(bb.emit(op.multiply(x, x)), 0, keepdims=True))
        return op.divide(x, bb.emit(op.sqrt(square)))

    kernel = Kernel([tensor(h, w)], graph)
    for shape in [(1, 1), (3, 17), (5, 64), (7, 65), (2, 200), (0, 70)]:
        x = random(*shape)
        expected = x / np.sqrt((x.astype(np.float64) ** 2).sum(0, keepdims=True))
        np.testing.assert_allclose(kernel(x)[0], expected, rtol=1e-5)


def test_softmax_of_scaled_and_masked_scores() -> None:
    kernel = Kernel(
        [tensor(n, c, h, w), tensor(n, 1, h, w)],
        lambda bb, x, m: op.nn.softmax(
            bb.emit(op.add(bb.emit(op.multiply(x, relax.const(0.125, "float32"))), m)), axis=-1
        ),
    )
    for shape in [(1, 1, 1, 1), (2, 3, 5, 17), (1, 12, 7, 33)]:
        x, m = random(*shape) * 8, random(shape[0], 1, *shape[2:], seed=1)
        np.testing.assert_allclose(kernel(x, m)[0], softmax(x * 0.125 + m), rtol=5e-6)


def test_log_softmax() -> None:
    kernel = Kernel([tensor(n, w)], lambda bb, x: op.nn.log_softmax(x, axis=-1))
    for columns in SIZES:
        x = random(5, columns) * 4
        np.testing.assert_allclose(kernel(x)[0], np.log(softmax(x)), rtol=1e-5, atol=2e-6)


def layer_norm(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + shift


@pytest.mark.parametrize("columns", [8, 17, 64, 120])
def test_layer_norm(columns: int) -> None:
    kernel = Kernel(
        [tensor(n, h, columns), tensor(columns), tensor(columns)],
        lambda bb, x, s, b: op.nn.layer_norm(x, s, b, [-1]),
    )
    for shape in [(1, 1), (2, 3), (1, 40), (0, 3), (3, 0)]:
        x, s, b = random(*shape, columns), random(columns), random(columns, seed=1)
        np.testing.assert_allclose(kernel(x, s, b)[0], layer_norm(x, s, b), rtol=2e-5, atol=2e-5)


def test_layer_norm_from_its_parts() -> None:
    """As exported by PyTorch: mean, subtract, square, mean, add, root, divide."""

    def graph(bb: relax.BlockBuilder, x: relax.Var, y: relax.Var) -> relax.Expr:
        x = bb.emit(op.add(x, y))
        centred = bb.emit(op.subtract(x, bb.emit(op.mean(x, [-1], keepdims=True))))
        square = bb.emit(op.multiply(centred, centred))
        variance = bb.emit(op.mean(square, [-1], keepdims=True))
        root = bb.emit(op.sqrt(bb.emit(op.add(variance, relax.const(1e-5, "float32")))))
        return op.divide(centred, root)

    kernel = Kernel([tensor(n, h, w), tensor(n, h, w)], graph)
    assert ruled_by(kernel.func) == "schedule_rows"
    for shape in [(1, 1, 2), (2, 3, 17), (1, 9, 64), (2, 2, 131)]:
        x, y = random(*shape), random(*shape, seed=1)
        one, zero = np.ones(shape[-1]), np.zeros(shape[-1])
        np.testing.assert_allclose(
            kernel(x, y)[0], layer_norm(x.astype(np.float64) + y, one, zero), rtol=2e-4, atol=2e-4
        )


def test_group_norm() -> None:
    kernel = Kernel(
        [tensor(n, 16, h, w), tensor(16), tensor(16)],
        lambda bb, x, s, b: op.nn.group_norm(x, s, b, 4, 1, [2, 3]),
    )
    for shape in [(1, 16, 3, 5), (2, 16, 4, 17)]:
        x, s, b = random(*shape), random(16), random(16, seed=1)
        grouped = x.astype(np.float64).reshape(shape[0], 4, -1)
        mean, var = grouped.mean(-1, keepdims=True), grouped.var(-1, keepdims=True)
        expected = ((grouped - mean) / np.sqrt(var + 1e-5)).reshape(shape)
        expected = expected * s[:, None, None] + b[:, None, None]
        np.testing.assert_allclose(kernel(x, s, b)[0], expected, rtol=1e-4, atol=1e-4)


def test_expensive_value_with_two_outputs() -> None:
    def graph(bb: relax.BlockBuilder, x: relax.Var) -> relax.Expr:
        e = bb.emit(op.exp(x))
        return relax.Tuple([e, bb.emit(op.sum(e, axis=-1))])

    kernel = Kernel([tensor(n, w)], graph)
    for columns in (0, *SIZES):
        x = random(3, columns)
        e, total = kernel(x)
        np.testing.assert_allclose(e, np.exp(x), rtol=1e-6)
        np.testing.assert_allclose(total, np.exp(x.astype(np.float64)).sum(-1), rtol=1e-5)
