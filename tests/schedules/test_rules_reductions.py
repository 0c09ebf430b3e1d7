"""Reductions and pooling: numbers against NumPy at awkward and zero sizes."""

from collections.abc import Callable

import numpy as np
import pytest
from rules_cases import Kernel, chain, dims, fused, random, ruled_by, schedule, tensor
from tvm import relax

op = relax.op
n, h, w, c = dims("nhwc")

SIZES = (0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 131)
IMAGES = [(1, 1, 1), (2, 3, 5), (1, 16, 17), (3, 7, 9), (0, 3, 3)]


@pytest.mark.parametrize("name", ["sum", "max", "min", "prod", "mean"])
def test_last_axis(name: str) -> None:
    kernel = Kernel([tensor(n, w)], lambda bb, x: getattr(op, name)(x, axis=-1))
    reference = {"sum": np.sum, "max": np.max, "min": np.min, "prod": np.prod, "mean": np.mean}
    for rows in (0, 1, 3, 17):
        for columns in SIZES:
            if columns == 0 and name == "mean":
                continue
            x = 1 + random(rows, columns) / 8
            empty = {"max": {"initial": -np.inf}, "min": {"initial": np.inf}}.get(name, {})
            expected = reference[name](x.astype(np.float64), axis=-1, **empty)
            np.testing.assert_allclose(kernel(x)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("columns", [1, 3, 4, 15, 24, 120])
def test_last_axis_of_known_size(columns: int) -> None:
    kernel = Kernel([tensor(n, columns)], lambda bb, x: op.sum(x, axis=-1, keepdims=True))
    for rows in (0, 1, 5, 40):
        x = random(rows, columns)
        np.testing.assert_allclose(
            kernel(x)[0], x.astype(np.float64).sum(-1, keepdims=True), rtol=1e-5, atol=1e-5
        )


def test_mean_of_nothing_is_not_a_number() -> None:
    kernel = Kernel([tensor(n, w)], lambda bb, x: op.mean(x, axis=-1))
    assert np.isnan(kernel(random(3, 0))[0]).all()


def test_maximum_of_minus_infinities() -> None:
    kernel = Kernel([tensor(n, w)], lambda bb, x: op.max(x, axis=-1))
    for columns in SIZES:
        x = np.full((2, columns), -np.inf, np.float32)
        np.testing.assert_array_equal(kernel(x)[0], np.full(2, -np.inf))


@pytest.mark.parametrize("axes", [[0], [1], [0, 1], [0, 2], [0, 1, 2], [1, 2]])
def test_any_axes(axes: list[int]) -> None:
    kernel = Kernel([tensor(n, h, w)], lambda bb, x: op.sum(x, axis=axes))
    for shape in [(1, 1, 1), (3, 5, 17), (16, 2, 64), (5, 33, 15), (0, 3, 4), (3, 0, 4), (3, 4, 0)]:
        x = random(*shape)
        expected = x.astype(np.float64).sum(tuple(axes))
        np.testing.assert_allclose(kernel(x)[0], expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("channels", [1, 3, 24, 67, 160])
def test_global_average_pool(channels: int) -> None:
    kernel = Kernel(
        [tensor(n, h, w, channels)],
        chain(lambda x: op.mean(x, [1, 2], keepdims=True), op.nn.relu),
    )
    for image in IMAGES:
        x = random(*image, channels)
        expected = np.maximum(x.astype(np.float64).mean((1, 2), keepdims=True), 0)
        np.testing.assert_allclose(kernel(x)[0], expected, rtol=1e-5, atol=1e-6)


def windows(x: np.ndarray, size: int, step: int, pad: int, fill: float) -> np.ndarray:
    """All windows of the two middle axes: (n, oh, ow, size, size, c)."""
    x = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)], constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
    return view[:, ::step, ::step].transpose(0, 1, 2, 4, 5, 3)


POOLS = [(3, 2, 1), (2, 2, 0), (3, 1, 1), (5, 3, 2)]


@pytest.mark.parametrize(("size", "step", "pad"), POOLS)
@pytest.mark.parametrize("channels", [3, 24])
def test_max_pool(size: int, step: int, pad: int, channels: int) -> None:
    kernel = Kernel(
        [tensor(n, h, w, channels)],
        lambda bb, x: op.nn.max_pool2d(
            x, (size, size), (step, step), (pad,) * 4, layout="NHWC", out_layout="NHWC"
        ),
    )
    for image in [(1, 5, 5), (2, 6, 9), (1, 17, 8), (1, 16, 33)]:
        x = random(*image, channels) - 3
        expected = windows(x, size, step, pad, -np.inf).max((3, 4))
        np.testing.assert_array_equal(kernel(x)[0], expected)


@pytest.mark.parametrize(("size", "step", "pad"), POOLS)
@pytest.mark.parametrize("width", [w, 7, 37, 131])
def test_max_pool_with_channels_first(size: int, step: int, pad: int, width: object) -> None:
    """Windows are then cut off along the contiguous axis, differently for each lane."""
    kernel = Kernel(
        [tensor(n, 3, h, width)],
        lambda bb, x: op.nn.max_pool2d(x, (size, size), (step, step), (pad,) * 4),
    )
    for image in [(1, 5, 5), (2, 6, 9), (1, 17, 8), (1, 16, 33), (1, 5, 131), (0, 5, 5)]:
        count, height, columns = image
        columns = width if isinstance(width, int) else columns
        x = random(count, height, columns, 3) - 3
        expected = windows(x, size, step, pad, -np.inf).max((3, 4)).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(kernel(x.transpose(0, 3, 1, 2).copy())[0], expected)


@pytest.mark.parametrize(("size", "step", "pad"), POOLS)
@pytest.mark.parametrize("counted", [False, True])
def test_average_pool(size: int, step: int, pad: int, counted: bool) -> None:
    kernel = Kernel(
        [tensor(n, h, w, 24)],
        lambda bb, x: op.nn.avg_pool2d(
            x, (size, size), (step, step), (pad,) * 4, layout="NHWC", count_include_pad=counted
        ),
    )
    for image in [(1, 5, 5), (2, 6, 9), (1, 17, 8)]:
        x = random(*image, 24)
        inside = windows(np.ones_like(x), size, step, pad, 1.0 if counted else 0.0).sum((3, 4))
        expected = windows(x.astype(np.float64), size, step, pad, 0.0).sum((3, 4)) / inside
        np.testing.assert_allclose(kernel(x)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("size", "step", "pad"), POOLS)
def test_windows_are_narrowed_instead_of_tested(size: int, step: int, pad: int) -> None:
    func = fused(
        [tensor(n, h, w, 16)],
        lambda bb, x: op.nn.max_pool2d(x, (size, size), (step, step), (pad,) * 4, layout="NHWC"),
    )
    assert ruled_by(func) == "schedule_stages"
    assert "if_then_else" not in schedule(func).script()


def test_product_of_matrices_without_an_anchor() -> None:
    kernel = Kernel([tensor(n, h), tensor(h, w)], lambda bb, a, b: op.matmul(a, b))
    for rows, depth, columns in [(1, 1, 1), (3, 5, 17), (7, 33, 64), (2, 0, 5), (4, 64, 130)]:
        a, b = random(rows, depth), random(depth, columns, seed=1)
        np.testing.assert_allclose(kernel(a, b)[0], a.astype(np.float64) @ b, rtol=1e-5, atol=1e-5)


def test_integer_sum_and_boolean_all() -> None:
    kernel = Kernel([tensor(n, w, dtype="int64")], lambda bb, x: op.sum(x, axis=-1))
    for columns in SIZES:
        x = np.arange(3 * columns).reshape(3, columns) - 7
        np.testing.assert_array_equal(kernel(x)[0], x.sum(-1))


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("axis", [0, 1])
def test_index_of_extreme(name: str, axis: int) -> None:
    kernel = Kernel([tensor(h, w)], lambda bb, x: getattr(op, name)(x, axis))
    reference: Callable[..., np.ndarray] = getattr(np, name)
    for shape in [(1, 1), (3, 5), (17, 16), (5, 33), (64, 7), (2, 131)]:
        x = np.round(random(*shape) * 2)  # with ties: the first counts
        np.testing.assert_array_equal(kernel(x)[0], reference(x, axis))


def test_rule() -> None:
    func = fused([tensor(n, w)], lambda bb, x: op.sum(x, axis=-1))
    assert ruled_by(func) == "schedule_stages"
