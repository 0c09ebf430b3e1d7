"""Elementwise and injective groups: numbers against NumPy at awkward sizes, and the code's form."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
import tvm
from rules_cases import (
    TRAITS,
    Kernel,
    chain,
    compiled,
    dims,
    fused,
    random,
    ruled_by,
    schedule,
    tensor,
)
from scipy import special
from tvm import relax

op = relax.op
n, h, w, c = dims("nhwc")

SIZES = (0, 1, 3, 7, 8, 15, 16, 17, 31, 33, 64, 67)
IMAGES = [
    (1, 1, 1),
    (2, 3, 5),
    (1, 16, 17),
    (3, 31, 33),
    (1, 40, 8),
    (2, 0, 5),
    (0, 3, 3),
    (2, 5, 0),
]

Reference = Callable[..., np.ndarray]


def const(value: float) -> relax.Expr:
    return relax.const(value, "float32")


def hardswish(bb: relax.BlockBuilder, x: relax.Var) -> relax.Expr:
    shifted = bb.emit(op.add(x, const(3.0)))
    gate = bb.emit(op.clip(shifted, 0, 6))
    return op.divide(bb.emit(op.multiply(x, gate)), const(6.0))


FLAT: dict[str, tuple[Callable[..., relax.Expr], Reference]] = {
    "hardswish": (hardswish, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "gelu": (chain(op.nn.gelu), lambda x: x * (0.5 + 0.5 * special.erf(x / np.sqrt(2)))),
    "silu": (chain(op.nn.silu), lambda x: x / (1 + np.exp(-x))),
    "shared exponential": (
        lambda bb, x: (lambda e: op.divide(e, bb.emit(op.add(e, const(1.0)))))(bb.emit(op.exp(x))),
        lambda x: np.exp(x) / (np.exp(x) + 1),
    ),
    "tanh then cube": (
        chain(op.tanh, lambda t: op.power(t, const(3.0))),
        lambda x: np.tanh(x) ** 3,
    ),
    "to half and back": (
        chain(lambda t: op.astype(t, "float16"), lambda t: op.astype(t, "float32")),
        lambda x: x.astype(np.float32).astype(np.float16),
    ),
    "is positive": (chain(lambda t: op.greater(t, const(0.0))), lambda x: x > 0),
}


@cache
def flat_kernel(name: str) -> Kernel:
    return Kernel([tensor(n, w)], FLAT[name][0])


@pytest.mark.parametrize("name", FLAT)
def test_flat(name: str) -> None:
    kernel = flat_kernel(name)
    for rows, columns in [(r, s) for r in (1, 3) for s in SIZES] + [(0, 5), (40, 1031)]:
        x = random(rows, columns) * 4
        (y,) = kernel(x)
        np.testing.assert_allclose(y, FLAT[name][1](x.astype(np.float64)), rtol=2e-6, atol=1e-6)


def image_case(graph: Callable[..., relax.Expr], channels: int = 24) -> Kernel:
    return Kernel([tensor(n, h, w, channels)], graph)


def check_images(kernel: Kernel, reference: Reference, channels: int = 24) -> None:
    for image in IMAGES:
        x = random(*image, channels)
        (y,) = kernel(x)
        np.testing.assert_allclose(y, reference(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 8, 16, 24, 33, 64])
def test_channel_vectors_are_broadcast(channels: int) -> None:
    kernel = Kernel(
        [tensor(n, h, w, channels), tensor(channels), tensor(n, 1, 1, channels)],
        lambda bb, x, b, s: op.multiply(bb.emit(op.add(x, b)), s),
    )
    for image in IMAGES:
        x, b, s = random(*image, channels), random(channels), random(image[0], 1, 1, channels)
        np.testing.assert_allclose(kernel(x, b, s)[0], (x + b) * s, rtol=1e-6)


def test_row_vectors_are_broadcast() -> None:
    kernel = Kernel([tensor(n, c, h, w), tensor(c, 1, 1)], lambda bb, x, b: op.add(x, b))
    for shape in [(1, 3, 5, 7), (2, 5, 4, 4), (1, 1, 31, 33), (2, 4, 0, 3)]:
        x, b = random(*shape), random(shape[1], 1, 1)
        np.testing.assert_allclose(kernel(x, b)[0], x + b)


@pytest.mark.parametrize("axes", [(0, 2, 3, 1), (0, 3, 1, 2), (0, 2, 1, 3), (3, 2, 1, 0)])
def test_permutes(axes: tuple[int, ...]) -> None:
    kernel = Kernel([tensor(n, h, w, c)], lambda bb, x: op.permute_dims(x, list(axes)))
    for image in IMAGES:
        for channels in (1, 3, 15, 16, 17, 40):
            x = random(*image, channels)
            np.testing.assert_array_equal(kernel(x)[0], x.transpose(axes))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_few_channels_first_and_last(channels: int) -> None:
    last = Kernel([tensor(n, channels, h, w)], lambda bb, x: op.permute_dims(x, [0, 2, 3, 1]))
    first = Kernel([tensor(n, h, w, channels)], lambda bb, x: op.permute_dims(x, [0, 3, 1, 2]))
    for image in [*IMAGES, (1, 40, 67)]:
        x = random(image[0], channels, *image[1:])
        y = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        np.testing.assert_array_equal(last(x)[0], y)
        np.testing.assert_array_equal(first(y)[0], x)


@pytest.mark.parametrize("pixels", [63, 64, 65, 79, 80, 127, 129])
def test_permute_at_the_edges_of_blocks_of_tiles(pixels: int) -> None:
    last = Kernel([tensor(n, 24, w)], lambda bb, x: op.permute_dims(x, [0, 2, 1]))
    first = Kernel([tensor(n, w, 24)], lambda bb, x: op.permute_dims(x, [0, 2, 1]))
    x = random(2, 24, pixels)
    y = np.ascontiguousarray(x.transpose(0, 2, 1))
    np.testing.assert_array_equal(last(x)[0], y)
    np.testing.assert_array_equal(first(y)[0], x)


def test_permute_with_an_epilogue() -> None:
    kernel = Kernel(
        [tensor(n, 20, h, w), tensor(20)],
        lambda bb, x, b: op.nn.relu(bb.emit(op.add(bb.emit(op.permute_dims(x, [0, 2, 3, 1])), b))),
    )
    for image in IMAGES:
        x, b = random(image[0], 20, *image[1:]), random(20)
        expected = np.maximum(x.transpose(0, 2, 3, 1) + b, 0)
        np.testing.assert_allclose(kernel(x, b)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int64", "float16", "uint8"])
def test_permute_of_other_types(dtype: str) -> None:
    kernel = Kernel([tensor(h, w, dtype=dtype)], lambda bb, x: op.permute_dims(x, [1, 0]))
    for shape in [(3, 5), (4, 67), (7, 9), (8, 15), (16, 5), (33, 17), (0, 4)]:
        x = (np.arange(np.prod(shape)) % 251).astype(dtype).reshape(shape)
        np.testing.assert_array_equal(kernel(x)[0], x.T)


@pytest.mark.parametrize(
    ("times", "dtype"), [(2, "float32"), (3, "uint8"), (8, "int64"), (9, "float32")]
)
def test_elements_repeated_side_by_side(times: int, dtype: str) -> None:
    kernel = Kernel(
        [tensor(n, w, 1, dtype=dtype)],
        lambda bb, x: op.broadcast_to(x, relax.ShapeExpr([n, w, times])),
    )
    for shape in [(1, 1), (3, 5), (2, 16), (5, 67), (0, 7), (7, 0)]:
        x = np.random.default_rng(0).integers(0, 99, (*shape, 1)).astype(dtype)
        (out,) = kernel(x)
        np.testing.assert_array_equal(out, np.broadcast_to(x, (*shape, times)))


@pytest.mark.parametrize(("times", "dtype"), [(2, "float32"), (8, "uint8"), (9, "float32")])
def test_rows_repeated(times: int, dtype: str) -> None:
    kernel = Kernel(
        [tensor(n, 1, w, dtype=dtype)],
        lambda bb, x: op.broadcast_to(x, relax.ShapeExpr([n, times, w])),
    )
    for shape in [(1, 1), (3, 5), (2, 16), (5, 67), (0, 7), (7, 0)]:
        x = np.random.default_rng(0).integers(0, 99, (shape[0], 1, shape[1])).astype(dtype)
        (out,) = kernel(x)
        np.testing.assert_array_equal(out, np.broadcast_to(x, (shape[0], times, shape[1])))


def test_concat_of_channels() -> None:
    kernel = Kernel(
        [tensor(n, h, w, 5), tensor(n, h, w, 24), tensor(n, h, w, c)],
        lambda bb, *xs: op.nn.relu(bb.emit(op.concat(list(xs), 3))),
    )
    for image in IMAGES:
        for channels in (0, 1, 17):
            xs = [random(*image, k, seed=k) for k in (5, 24, channels)]
            np.testing.assert_array_equal(kernel(*xs)[0], np.maximum(np.concatenate(xs, 3), 0))


def test_concat_of_rows() -> None:
    kernel = Kernel([tensor(n, h, w), tensor(n, c, w)], lambda bb, x, y: op.concat([x, y], 1))
    for a, b, columns in [(1, 2, 3), (4, 0, 17), (0, 4, 16), (33, 31, 15)]:
        xs = [random(2, a, columns), random(2, b, columns, seed=1)]
        np.testing.assert_array_equal(kernel(*xs)[0], np.concatenate(xs, 1))


def test_concat_has_no_choice_per_element() -> None:
    func = schedule(
        fused([tensor(n, w, 16), tensor(n, w, 24)], lambda bb, x, y: op.concat([x, y], 2))
    )
    assert "if_then_else" not in func.script()


def test_pad() -> None:
    pads = [(0, 0), (1, 2), (3, 0), (0, 0)]
    kernel = image_case(lambda bb, x: op.nn.pad(x, [v for pair in pads for v in pair]))
    check_images(kernel, lambda x: np.pad(x, pads))
    assert "if_then_else" not in kernel.scheduled.script()


def test_slices_and_gathers() -> None:
    kernel = image_case(lambda bb, x: op.strided_slice(x, [3], [5], [23], [1]))
    check_images(kernel, lambda x: x[..., 5:23])
    kernel = image_case(lambda bb, x: op.strided_slice(x, [3], [1], [24], [2]))
    check_images(kernel, lambda x: x[..., 1:24:2])
    kernel = Kernel(
        [tensor(w, 40), tensor(n, dtype="int64")], lambda bb, x, i: op.take(x, i, axis=0)
    )
    for rows, count in [(1, 1), (7, 20), (33, 0)]:
        x, i = random(rows, 40), np.arange(count) * 5 % rows
        np.testing.assert_array_equal(kernel(x, i)[0], x[i])


def test_where_and_comparison() -> None:
    kernel = Kernel(
        [tensor(n, w), tensor(n, w)],
        lambda bb, x, y: op.where(bb.emit(op.less(x, y)), x, bb.emit(op.negative(y))),
    )
    for columns in SIZES:
        x, y = random(3, columns), random(3, columns, seed=1)
        np.testing.assert_array_equal(kernel(x, y)[0], np.where(x < y, x, -y))


@pytest.mark.parametrize("method", ["nearest_neighbor", "linear", "cubic"])
def test_resize(method: str) -> None:
    mode = "asymmetric" if method == "nearest_neighbor" else "half_pixel"

    def graph(bb: relax.BlockBuilder, x: relax.Var) -> relax.Expr:
        size = relax.ShapeExpr([h * 2, w * 2])
        return op.image.resize2d(
            x,
            size,
            layout="NHWC",
            method=method,
            coordinate_transformation_mode=mode,
            rounding_method="floor" if method == "nearest_neighbor" else "",
        )

    types = [tensor(n, h, w, 24)]
    kernel = Kernel(types, graph)
    stock = compiled(fused(types, graph))
    for image in IMAGES[:5]:
        x = random(*image, 24)
        out = tvm.runtime.tensor(np.zeros((image[0], 2 * image[1], 2 * image[2], 24), np.float32))
        stock["main"](tvm.runtime.tensor(x), out)
        np.testing.assert_allclose(kernel(x)[0], out.numpy(), rtol=1e-5, atol=1e-5)


def test_reshape_inside_a_group_is_flat() -> None:
    kernel = image_case(
        lambda bb, x: op.nn.relu(bb.emit(op.reshape(x, relax.ShapeExpr([n, h * w, 24]))))
    )
    check_images(
        kernel, lambda x: np.maximum(x, 0).reshape(x.shape[0], x.shape[1] * x.shape[2], 24)
    )
    # One vector loop over all of it: no index is taken apart into rows and columns.
    assert "truncmod" not in kernel.scheduled.script()


def test_split_into_two_outputs() -> None:
    kernel = image_case(lambda bb, x: op.split(x, 2, 3))
    for image in IMAGES:
        x = random(*image, 24)
        first, second = kernel(x)
        np.testing.assert_array_equal(first, x[..., :12])
        np.testing.assert_array_equal(second, x[..., 12:])


UNARY: dict[str, Reference] = {
    **{name: getattr(np, name) for name in ("cosh", "floor", "log", "sin")},
    "acos": np.arccos,
    "rsqrt": lambda x: 1 / np.sqrt(x),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", sorted(UNARY))
def test_functions_of_all_floats(name: str, dtype: str) -> None:
    kernel = Kernel([tensor(n, w, dtype=dtype)], lambda bb, x: getattr(op, name)(x))
    x = np.random.default_rng(0).uniform(0.1, 0.9, (3, 37)).astype(dtype)
    expected = UNARY[name](x.astype(np.float64))
    np.testing.assert_allclose(kernel(x)[0], expected, rtol=2e-3 if dtype == "float16" else 2e-6)


def assembly(types: Sequence[relax.TensorType], graph: Callable[..., relax.Expr]) -> str:
    return compiled(schedule(fused(types, graph))).mod.inspect_source("ll")


def test_vectors_are_as_wide_as_the_machine() -> None:
    lanes = TRAITS.lanes("float32")
    assert f"fmul <{lanes} x float>" in assembly([tensor(n, w)], FLAT["hardswish"][0])
    code = assembly([tensor(n, w)], FLAT["gelu"][0])
    assert f"fdiv <{lanes} x float>" not in code
    assert "erff" not in code


def test_long_chains_of_arithmetic_come_in_pairs_of_vectors() -> None:
    lanes = TRAITS.lanes("float32")
    for graph, copies in ((op.tanh, 2), (op.abs, 1)):
        code = schedule(fused([tensor(n)], chain(graph))).script()
        assert (f"T.vectorized(T.int64({2 * lanes}))" in code) == (copies == 2)
        assert f"T.vectorized(T.int64({lanes}))" in code


def test_small_known_sizes_are_not_forked() -> None:
    small = schedule(fused([tensor(4, 8)], FLAT["hardswish"][0])).script()
    assert "T.parallel" not in small
    large = schedule(fused([tensor(1024, 64)], FLAT["hardswish"][0])).script()
    assert "T.parallel" in large


def test_rule() -> None:
    assert ruled_by(fused([tensor(n, w)], FLAT["silu"][0])) == "schedule_stages"
