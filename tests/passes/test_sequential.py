"""Sorts, scans and results whose size only the run knows, against NumPy at any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, tirx
from tvm.relax import op as R

import tvm_sod2
from tvm_sod2.passes.sequential import lower_sequential


def of_matrix(operator: Callable[[Any], Any]) -> tvm.IRModule:
    """The operator on a float32 matrix [n, m]."""
    n, m = tirx.Var("n", "int64"), tirx.Var("m", "int64")
    x = relax.Var("x", relax.TensorType([n, m], "float32"))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            y = bb.emit_output(bb.normalize(operator(x)))
        bb.emit_func_output(y)
    return bb.get()


def _unique(x: np.ndarray) -> list[np.ndarray]:
    return [np.unique(x)]


def _topk(x: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(-x, axis=-1, kind="stable")[:, :3]
    return [np.take_along_axis(x, order, -1), order]


CASES: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], list[np.ndarray]]]] = {
    "cumsum": (lambda x: R.cumsum(x, axis=0), lambda x: [x.cumsum(0)]),
    "cumsum of all": (lambda x: R.cumsum(x), lambda x: [x.cumsum()]),
    "cumprod": (lambda x: R.cumprod(x, axis=1), lambda x: [x.cumprod(1)]),
    "argsort": (lambda x: R.argsort(x, axis=0), lambda x: [x.argsort(0, kind="stable")]),
    "sort": (lambda x: R.sort(x, axis=-1, descending=True), lambda x: [-np.sort(-x, axis=-1)]),
    "topk": (lambda x: R.topk(x, 3, axis=-1, dtype="int64"), _topk),
    "nonzero": (lambda x: R.nonzero(x), lambda x: [np.array(np.nonzero(x))]),
    "unique": (lambda x: R.unique(x), _unique),
}


@pytest.mark.parametrize("name", CASES)
def test_results_are_numpys(name: str) -> None:
    operator, expected = CASES[name]
    main = relax.VirtualMachine(tvm_sod2.build(of_matrix(operator)), tvm.cpu())["main"]
    for shape in ((1, 1), (5, 7), (13, 17), (0, 3), (3, 0)):
        x = np.random.default_rng(0).integers(-3, 4, shape).astype("float32")
        found = main(tvm.runtime.tensor(x))
        parts = [found] if isinstance(found, tvm.runtime.Tensor) else list(found)
        for part, array in zip(parts, expected(x), strict=True):
            np.testing.assert_array_equal(part.numpy(), array, err_msg=f"{name} of {shape}")


def test_none_of_them_is_left() -> None:
    for operator, _ in CASES.values():
        lowered = lower_sequential(of_matrix(operator))
        relax.analysis.well_formed(lowered)
        assert "R.call_tir" in lowered.script()


def test_operands_of_unknown_shape_stay() -> None:
    x = relax.Var("x", relax.TensorType(None, "float32", ndim=2))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        bb.emit_func_output(bb.emit(R.cumsum(x, axis=0)))
    before = bb.get()
    tvm.ir.assert_structural_equal(lower_sequential(before), before)
