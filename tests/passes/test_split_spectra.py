"""Spectra as convolutions of half the filters over every second sample, and what stays as it is."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op
from tvm.script import tirx as T

import tvm_sod2
from tvm_sod2.passes.filter_pairs import Run, find_pairs
from tvm_sod2.passes.split_spectra import split_spectra

RANDOM = np.random.default_rng(0)


def spectrum(length: int, window: np.ndarray | None = None) -> list[np.ndarray]:
    """Filters of the real and of the imaginary part, (length // 2 + 1, length) each, float32."""
    turn = np.outer(np.arange(length // 2 + 1), np.arange(length)) * (2 * np.pi / length)
    window = np.ones(length) if window is None else window
    return [(part * window).astype(np.float32) for part in (np.cos(turn), -np.sin(turn))]


def lopsided(length: int, first: int, behind: int) -> np.ndarray:
    """A window without symmetry that is zero outside of [first, behind)."""
    window = np.zeros(length)
    window[first:behind] = RANDOM.uniform(0.1, 1, behind - first)
    return window


def net(
    filters: list[np.ndarray], stride: int, padding: int = 0, name: str = "length"
) -> tvm.IRModule:
    """Convolutions of one signal, channels last."""
    signal = [T.Var("n", "int64"), 1, T.Var(name, "int64"), 1]
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(signal, "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            found = [
                builder.emit_output(
                    op.nn.conv2d(
                        x,
                        relax.const(weights[:, None, :, None]),
                        strides=[1, stride],
                        padding=[0, padding, 0, padding],
                        data_layout="NHWC",
                        kernel_layout="OHWI",
                    )
                )
                for weights in filters
            ]
        builder.emit_func_output(relax.Tuple(found))
    return builder.get()


def product(filters: list[np.ndarray]) -> tvm.IRModule:
    """Products of frames, as a signal is cut into them before a spectrum."""
    builder = relax.BlockBuilder()
    taps = filters[0].shape[1]
    x = relax.Var(
        "x", relax.TensorType([T.Var("n", "int64"), T.Var("t", "int64"), taps], "float32")
    )
    with builder.function("main", [x]):
        with builder.dataflow():
            found = [builder.emit_output(op.matmul(x, relax.const(w.T.copy()))) for w in filters]
        builder.emit_func_output(relax.Tuple(found))
    return builder.get()


def weights_of(mod: tvm.IRModule) -> list[tuple[int, int]]:
    """(filters, taps) of the convolutions that are left."""
    values = [b.value for block in mod["main"].body.blocks for b in block.bindings]
    shapes = [
        v.args[1].ty.shape.values
        for v in values
        if getattr(getattr(v, "op", None), "name", "") == "relax.nn.conv2d"
    ]
    return [(int(shape[0]), int(shape[2])) for shape in shapes]


def test_pairs_of_a_transform() -> None:
    real, imaginary = spectrum(16)
    pairs = find_pairs(real)
    assert pairs is not None and pairs.kept == [0, 1, 2, 3, 4]
    assert pairs.runs == [Run(0, 0, 4), Run(1, 3, 0)]
    pairs = find_pairs(imaginary)
    assert pairs is not None and len(pairs.kept) == 5
    assert [(run.sign, run.first, run.last) for run in pairs.runs[1:]] == [(-1, 3, 0)]


def test_pairs_need_the_rounding_of_floats_and_no_more() -> None:
    (real, _) = spectrum(64)
    assert find_pairs(real + np.float32(2e-8) * RANDOM.uniform(-1, 1, real.shape)) is not None
    assert find_pairs(real + 1e-5 * RANDOM.uniform(-1, 1, real.shape)) is None
    assert find_pairs(RANDOM.standard_normal((33, 64))) is None
    # Filters in no order are as many runs, each a loop of its own.
    assert find_pairs(real[RANDOM.permutation(len(real))]) is None


def test_every_filter_comes_from_the_kept_ones() -> None:
    weights = np.concatenate(spectrum(30, lopsided(30, 1, 29)))
    pairs = find_pairs(weights, frozenset({16}))
    assert pairs is not None
    made = []
    for run in pairs.runs:
        step = 1 if run.last >= run.first else -1
        for place in range(run.first, run.last + step, step):
            even, odd = weights[pairs.kept[place]].copy(), weights[pairs.kept[place]].copy()
            even[1::2], odd[0::2] = 0, 0
            made.append(even + odd if run.sign == 0 else run.sign * (even - odd))
    np.testing.assert_allclose(made, weights, atol=1e-6)
    assert 16 in np.cumsum([run.count for run in pairs.runs])


def test_two_convolutions_become_four_of_a_quarter() -> None:
    mod = split_spectra(net(spectrum(512, lopsided(512, 1, 399)), stride=160))
    relax.analysis.well_formed(mod)
    # 514 filters of 512 taps; 112 taps are zero, and 129 filters fill 9 vectors.
    assert weights_of(mod) == [(144, 100)] * 4


@pytest.mark.parametrize(
    ("filters", "stride", "padding"),
    [
        (spectrum(512), 161, 0),
        (spectrum(512), 160, 1),
        (spectrum(64), 16, 0),
        ([RANDOM.standard_normal((257, 512)).astype(np.float32)], 160, 0),
        ([np.zeros((257, 512), np.float32)], 160, 0),
    ],
    ids=["an odd stride", "padding", "too small", "no pairs", "nothing but zeros"],
)
def test_what_stays(filters: list[np.ndarray], stride: int, padding: int) -> None:
    before = net(filters, stride, padding)
    tvm.ir.assert_structural_equal(split_spectra(before), before)


def test_a_layer_stays_a_product() -> None:
    weights = RANDOM.standard_normal((257, 512)).astype(np.float32)
    weights[:, 400:] = 0
    before = product([weights])
    tvm.ir.assert_structural_equal(split_spectra(before), before)


def test_taps_that_are_zero_at_the_ends_go() -> None:
    weights = RANDOM.standard_normal((257, 512)).astype(np.float32)
    weights[:, :57] = weights[:, 456:] = 0
    mod = split_spectra(net([weights], stride=161))
    assert weights_of(mod) == [(257, 400)]
    names = Counter(
        b.value.op.name
        for block in mod["main"].body.blocks
        for b in block.bindings
        if isinstance(b.value, relax.Call)
    )
    assert names["relax.strided_slice"] == 1


def test_results_are_those_of_float64_at_every_length() -> None:
    """As many frames as before, whatever is left over behind the last."""
    parts = spectrum(400, lopsided(400, 3, 398))
    vm = relax.VirtualMachine(tvm_sod2.build(net(parts, stride=40)), tvm.cpu())
    for length, batch in [(400, 1), (401, 2), (439, 1), (440, 1), (1009, 2), (1040, 0)]:
        x = RANDOM.standard_normal((batch, 1, length, 1)).astype(np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(x[:, :, :, 0], 400, 2)[:, :, ::40]
        for found, weights in zip(vm["main"](tvm.runtime.tensor(x)), parts, strict=True):
            expected = frames.astype(np.float64) @ weights.T.astype(np.float64)
            assert found.numpy().shape == expected.shape
            np.testing.assert_allclose(found.numpy(), expected, atol=5e-5)


def test_products_of_frames_are_those_of_float64() -> None:
    parts = spectrum(400)
    vm = relax.VirtualMachine(tvm_sod2.build(product(parts)), tvm.cpu())
    for shape in [(1, 1), (2, 13), (3, 0)]:
        x = RANDOM.standard_normal((*shape, 400)).astype(np.float32)
        for found, weights in zip(vm["main"](tvm.runtime.tensor(x)), parts, strict=True):
            expected = x.astype(np.float64) @ weights.T.astype(np.float64)
            np.testing.assert_allclose(found.numpy(), expected, atol=5e-5)
