"""Operators over symbolic dims against ONNX Runtime, at shapes of 1, primes and around tiles."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from operator_graphs import GRAPHS, Graph
from stock import Model

from tvm_sod2 import from_onnx


def _input(value: onnx.ValueInfoProto, sizes: dict[str, int], seed: int) -> np.ndarray:
    tensor = value.type.tensor_type
    dims = [dim.dim_value or sizes[dim.dim_param] for dim in tensor.shape.dim]
    rng = np.random.default_rng(seed)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    special = {
        "s": lambda: np.array([-3, 1]),
        "e": lambda: np.array([100, -1]),
        "sizes": lambda: np.array([2, sizes["sizes"] - 2]),
        "shape": lambda: np.array([2, 1, 4]),
        "times": lambda: np.array([2, 3]),
        "stop": lambda: np.array(11),
        "p": lambda: np.array([1, 0, 2, 3]),
        "i": lambda: rng.integers(-sizes["n"], sizes["n"], dims),
        "j": lambda: rng.integers(-sizes["m"], sizes["m"], dims),
        "flag": lambda: np.array(seed % 2 == 0),
    }
    if dtype != np.float32 and value.name in special:
        return special[value.name]().astype(dtype)
    if dtype == np.float32:
        return rng.uniform(-3, 3, dims).astype(dtype)
    return rng.integers(-50, 50, dims).astype(dtype)


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.name)
def test_agrees_with_onnx_runtime(graph: Graph) -> None:
    model = graph.model()
    compiled = Model(from_onnx(model))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for seed, sizes in enumerate(graph.sizes):
        feeds = {value.name: _input(value, sizes, seed) for value in model.graph.input}
        expected = session.run(None, feeds)
        for name, got, wanted in zip(
            [value.name for value in model.graph.output],
            compiled(*feeds.values()),
            expected,
            strict=True,
        ):
            message = f"{name} at {sizes}"
            assert got.dtype == wanted.dtype, message
            np.testing.assert_allclose(got, wanted, rtol=graph.rtol, atol=2e-5, err_msg=message)
