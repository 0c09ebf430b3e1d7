"""A real model full of shape arithmetic, compiled by the stock pipeline, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from stock import Model

from tvm_sod2 import from_onnx

CASES = {
    "320n": [(1, 3, 64, 96), (2, 3, 96, 64)],
}


def _page(shape: tuple[int, ...]) -> np.ndarray:
    """A light page with dark strokes: detectors answer noise with 6e-6 everywhere."""
    page = np.random.default_rng(0).uniform(0.8, 1.0, shape).astype("float32")
    page[:, :, 8:12, 6 : shape[3] - 8] = -1
    page[:, :, 20:30, 10:13] = -1
    return page


@pytest.mark.model
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_onnx_runtime(name: str, models: Callable[[str], Path]) -> None:
    path = models(name)
    compiled = Model(from_onnx(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for shape in CASES[name]:
        image = _page(shape)
        (expected,) = session.run(None, {session.get_inputs()[0].name: image})
        (got,) = compiled(image)
        np.testing.assert_allclose(
            got, expected, rtol=2e-3, atol=2e-5, err_msg=f"{name} at {shape}"
        )
