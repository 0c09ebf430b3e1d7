"""The recurrent kernel for vectors other than this machine's, its weights packed or not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tvm

from tvm_sod2.schedules.recurrent import emit_recurrent, recurrent_kernel
from tvm_sod2.schedules.recurrent_cell import Activation, Cell
from tvm_sod2.schedules.traits import Traits, host_target
from tvm_sod2.schedules.vectorise_math import vectorise_math

STEPS, ROWS, HIDDEN = 5, 7, 13
TRAITS = {
    "16 bytes": Traits(16, 16, False, 32 << 10, 256 << 10, 2),
    "32 bytes": Traits(32, 16, True, 32 << 10, 256 << 10, 4),
    "64 bytes, no cache": Traits(64, 32, True, 1 << 10, 1 << 10, 1),
}


def lstm() -> Cell:
    acts = tuple(Activation(name, 0.0, 0.0) for name in ("Sigmoid", "Tanh", "Tanh"))
    return Cell("LSTM", HIDDEN, (False, True), (acts, acts))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def reference(projected: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The states of all steps in float64; gates in ONNX's order i, o, f, c."""
    y = np.zeros((STEPS, 2, ROWS, HIDDEN))
    for direction in range(2):
        h, c = np.zeros((ROWS, HIDDEN)), np.zeros((ROWS, HIDDEN))
        columns = slice(direction * 4 * HIDDEN, (direction + 1) * 4 * HIDDEN)
        for step in range(STEPS)[:: -1 if direction else 1]:
            gates = projected[step][:, columns] + h @ weight[direction]
            i, o, f, g = np.split(gates.astype("float64"), 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            y[step, direction] = h
    return y


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", TRAITS)
def test_lstm(name: str, packed: bool) -> None:
    constants = frozenset({1}) if packed else frozenset[int]()
    kernel = emit_recurrent(recurrent_kernel(lstm()), constants, TRAITS[name])
    func = vectorise_math(kernel.func).with_attr("global_symbol", "lstm")
    run = tvm.compile(tvm.IRModule({"lstm": func}), host_target())["lstm"]
    rng = np.random.default_rng(0)
    projected = rng.normal(size=(STEPS, ROWS, 8 * HIDDEN)).astype("float32")
    weight = (rng.normal(size=(2, HIDDEN, 4 * HIDDEN)) / 4).astype("float32")
    given = kernel.pack[1](weight) if packed else weight
    state = np.zeros((2, ROWS, HIDDEN), "float32")
    y, h, c = (
        np.full(s, np.nan, "float32") for s in ((STEPS, 2, ROWS, HIDDEN), *[state.shape] * 2)
    )
    scratch = np.full((2, ROWS, 2 * HIDDEN), np.nan, "float32")
    tensors = [tvm.runtime.tensor(a) for a in (projected, given, state, state, y, h, c, scratch)]
    run(*tensors)
    expected = reference(projected, weight)
    np.testing.assert_allclose(tensors[4].numpy(), expected, rtol=1e-4, atol=1e-5)
    last = np.stack([expected[-1, 0], expected[0, 1]])
    np.testing.assert_allclose(tensors[5].numpy(), last, rtol=1e-4, atol=1e-5)


def test_zeros_are_not_multiplied() -> None:
    """From a first state of zeros the first step reads no weights: here they are not numbers."""
    cell = replace(lstm(), from_zero=True)
    kernel = emit_recurrent(recurrent_kernel(cell), frozenset(), TRAITS["32 bytes"])
    func = vectorise_math(kernel.func).with_attr("global_symbol", "lstm")
    run = tvm.compile(tvm.IRModule({"lstm": func}), host_target())["lstm"]
    projected = np.random.default_rng(0).normal(size=(STEPS, ROWS, 8 * HIDDEN)).astype("float32")
    weight = np.full((2, HIDDEN, 4 * HIDDEN), np.nan, "float32")
    state = np.zeros((2, ROWS, HIDDEN), "float32")
    y, scratch = np.empty((1, *state.shape), "float32"), np.empty((2, ROWS, 2 * HIDDEN), "float32")
    given = (projected[:1], weight, state, state, y, state, state, scratch)
    tensors = [tvm.runtime.tensor(a) for a in given]
    run(*tensors)
    i, o, _, g = np.split(projected[0].astype("float64").reshape(ROWS, 2, 4, HIDDEN), 4, axis=2)
    expected = (sigmoid(o) * np.tanh(sigmoid(i) * np.tanh(g)))[:, :, 0].transpose(1, 0, 2)
    np.testing.assert_allclose(tensors[4].numpy()[0], expected, rtol=1e-4, atol=1e-5)


def test_a_cell_survives_the_attribute() -> None:
    cell = Cell("GRU", 5, (True,), ((Activation("Elu", 0.5, 0.0),) * 2,), 0.25, True, lengths=True)
    assert Cell.from_json(cell.to_json()) == cell
