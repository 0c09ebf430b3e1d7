"""Voice detectors: an LSTM over time, nested If, and squeezes that only some lengths admit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tvm

from tvm_sod2 import build, from_onnx

SEQUENCES = [{"input": (n, 576), "h": (1, 1, 128), "c": (1, 1, 128)} for n in (1, 2, 7, 16, 31)]
WINDOWS = [
    {"input": (rows, length), "state": (2, rows, 128), "sr": rate}
    for rows, length, rate in (
        (1, 576, 16000),
        (2, 288, 8000),
        (3, 576, 16000),
        (1, 288, 8000),
        (5, 512, 16000),
    )
]
MODELS = {
    "silero_vad_16k_sequence": SEQUENCES,
    "silero_vad_v6": SEQUENCES,
    "silero_vad": WINDOWS,
    "silero_vad_v5": WINDOWS,
}


def _feed(shapes: dict, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: np.asarray(shape, "int64")
        if name == "sr"
        else (rng.normal(size=shape) * 0.3).astype("float32")
        for name, shape in shapes.items()
    }


@pytest.mark.model
@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_onnx_runtime(name: str, models: Callable[[str], Path]) -> None:
    path = models(name)
    vm = tvm.relax.VirtualMachine(build(from_onnx(path)), tvm.cpu())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for seed, shapes in enumerate(MODELS[name]):
        feed = _feed(shapes, seed)
        got = vm["main"](*map(tvm.runtime.tensor, feed.values()))
        for ours, theirs in zip(got, session.run(None, feed), strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.model
def test_a_length_that_cannot_be_squeezed_is_refused(models: Callable[[str], Path]) -> None:
    vm = tvm.relax.VirtualMachine(build(from_onnx(models("silero_vad"))), tvm.cpu())
    feed = _feed({"input": (1, 1024), "state": (2, 1, 128), "sr": 16000}, 0)
    with pytest.raises(Exception, match=r"decoder|match|shape"):
        vm["main"](*map(tvm.runtime.tensor, feed.values()))
