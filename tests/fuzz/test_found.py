"""What fuzzing found stays mended: one build each, run at several shapes against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm
from found import Found
from found_dims import DIMS
from found_values import VALUES
from tvm import relax

import tvm_sod2


def _input(found: Found, value: onnx.ValueInfoProto, run: int) -> np.ndarray:
    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if value.name in found.entries:
        return np.asarray(found.entries[value.name][run], dtype)
    sizes = found.sizes[run]
    dims = [sizes[d.dim_param] if d.dim_param else d.dim_value for d in tensor.shape.dim]
    rng = np.random.default_rng(run)
    if dtype == np.bool_:
        return rng.random(dims) < 0.5
    if dtype.kind == "i":
        return rng.integers(-9, 9, dims).astype(dtype)
    return rng.uniform(-2, 2, dims).astype(dtype)


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize("found", [*DIMS, *VALUES], ids=lambda found: found.name)
def test_agrees_with_onnx_runtime(found: Found) -> None:
    model = found.model()
    executable = tvm_sod2.build(tvm_sod2.from_onnx(model))
    main = relax.VirtualMachine(executable, tvm.cpu())["main"]
    session = _session(model)
    for run, sizes in enumerate(found.sizes):
        feeds = {value.name: _input(found, value, run) for value in model.graph.input}
        expected = session.run(None, feeds)
        result: Any = main(*map(tvm.runtime.tensor, feeds.values()))
        results = [result] if len(expected) == 1 else list(result)
        for mine, wanted in zip(results, expected, strict=True):
            assert mine.numpy().dtype == wanted.dtype, sizes
            np.testing.assert_allclose(mine.numpy(), wanted, 1e-4, 1e-5, err_msg=f"at {sizes}")
