"""Dropout whose ratio and mode only the run knows: the identity, or a refusal."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from peer import check, parsed
from tvm import relax

import tvm_sod2
from tvm_sod2.errors import ImportModelError

TEXT = "(float[n,3] x, float r, bool t) => (float[n,3] y, bool[n,3] m) { y, m = Dropout(x, r, t) }"


def _feed(n: int, ratio: float, training: bool) -> dict[str, np.ndarray]:
    x = np.random.default_rng(n).normal(size=(n, 3)).astype("float32")
    return {"x": x, "r": np.array(ratio, "float32"), "t": np.array(training)}


def test_the_identity_where_nothing_is_random() -> None:
    check(parsed(TEXT), [_feed(5, 0.0, True), _feed(1, 0.3, False), _feed(7, 0.0, False)], 0, 0)


def test_random_masks_are_refused_by_the_run() -> None:
    run = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(parsed(TEXT))), tvm.cpu())["main"]
    with pytest.raises(ValueError, match=r"node y \(Dropout\): random masks are not supported"):
        run(*map(tvm.runtime.tensor, _feed(2, 0.5, True).values()))


def test_random_masks_are_refused_at_import_where_they_are_certain() -> None:
    text = "(float[n] x) => (float[n] y) <float r = {0.5}, bool t = {1}> { y = Dropout(x, r, t) }"
    with pytest.raises(ImportModelError, match=r"node y \(Dropout\): random masks"):
        tvm_sod2.from_onnx(parsed(text))
