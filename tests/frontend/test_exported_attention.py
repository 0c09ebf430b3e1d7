"""Attention of well-known exporters is one kernel, right against ONNX Runtime at any length."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm

import tvm_sod2
from tests.frontend.attention_graphs import MODELS

SIZES: list[dict[str, int]] = [
    {"b": 1, "s": 1, "t": 1, "p": 0},
    {"b": 2, "s": 7, "t": 11, "p": 5},
    {"b": 1, "s": 37, "t": 16, "p": 20},
]
BOUNDS = {"gpt2": {"s": (1, 40), "p": (0, 24)}}


def inputs_of(model: onnx.ModelProto, sizes: dict[str, int], rng: Any) -> dict[str, np.ndarray]:
    """Masks hide the first keys of the first text, and all of other texts."""
    arrays = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [sizes[d.dim_param] if d.dim_param else d.dim_value for d in tensor.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        array = rng.normal(size=shape)
        if value.name == "mask":
            hidden = np.zeros(shape, dtype=bool)
            hidden[0, ..., : shape[-1] // 3] = True  # the first rows of a causal one see nothing
            hidden[1:] = True
            array = ~hidden if len(shape) == 2 or dtype.kind == "b" else np.where(hidden, -1e4, 0.5)
        arrays[value.name] = array.astype(dtype)
    return arrays


@pytest.mark.parametrize("name", MODELS)
def test_exported_attention_is_one_kernel(name: str) -> None:
    made = MODELS[name]
    model = made.make()
    executable = tvm_sod2.build(tvm_sod2.from_onnx(model), bounds=BOUNDS.get(name))
    vm = tvm.relax.VirtualMachine(executable, tvm.cpu())
    kernels = [note["kernel"] for note in json.loads(vm["sod2_kernels"]()).values()]
    attention = [kernel for kernel in kernels if "attention" in kernel]
    assert len(attention) == 1 and attention[0].startswith("causal") == made.causal, kernels
    assert not any("softmax" in note for note in json.loads(vm["sod2_kernels"]()))
    run = vm["main"]
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(0)
    for sizes in SIZES:
        arrays = inputs_of(model, sizes, rng)
        expected = session.run(None, arrays)
        found = run(*map(tvm.runtime.tensor, arrays.values()))
        found = [found] if isinstance(found, tvm.runtime.Tensor) else list(found)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, atol=2e-5, err_msg=name)
