"""Graphs written in short, built with tvm_sod2 and compared with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tvm
from onnx import TensorProto, helper

from tvm_sod2 import build, from_onnx

Feed = dict[str, np.ndarray]
KINDS = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "b": TensorProto.BOOL}


def info(spec: str) -> onnx.ValueInfoProto:
    """``x:f:n,3`` is a float tensor x of n rows, ``x:f:`` a scalar, ``x:f`` of no stated shape."""
    name, kind, *shape = spec.split(":")
    dims = None
    if shape:
        dims = [int(dim) if dim.isdigit() else dim for dim in shape[0].split(",") if dim]
    return helper.make_tensor_value_info(name, KINDS[kind], dims)


def graph(nodes: Sequence[Any], inputs: str, outputs: str, **constants: Any) -> onnx.GraphProto:
    tensors = []
    for name, value in constants.items():
        array = np.asarray(value)
        array = array.astype("float32") if array.dtype == np.float64 else array
        tensors.append(onnx.numpy_helper.from_array(array, name))
    values = [[info(spec) for spec in specs.split()] for specs in (inputs, outputs)]
    return helper.make_graph(list(nodes), "graph", *values, tensors)


def op(spec: str, **attrs: Any) -> onnx.NodeProto:
    """``y = Add(a, b)`` as a node."""
    outputs, call = spec.split(" = ")
    name, inputs = call.rstrip(")").split("(")
    names = [part.strip() for part in inputs.split(",")] if inputs else []
    return helper.make_node(name, names, [part.strip() for part in outputs.split(",")], **attrs)


def compiled(main: onnx.GraphProto) -> tuple[Callable[[Feed], list[np.ndarray]], Any]:
    model = helper.make_model(main, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    vm = tvm.relax.VirtualMachine(build(from_onnx(model)), tvm.cpu())

    def call(feed: Feed) -> list[np.ndarray]:
        result = vm["main"](*map(tvm.runtime.tensor, feed.values()))
        if isinstance(result, tvm.runtime.Tensor):
            return [result.numpy()]
        return [value.numpy() for value in result]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return call, onnxruntime.InferenceSession(model.SerializeToString(), options)


def check(main: onnx.GraphProto, *feeds: Feed) -> None:
    ours, session = compiled(main)
    for feed in feeds:
        for got, expected in zip(ours(feed), session.run(None, feed), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def feed(**values: Any) -> Feed:
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(size=value).astype("float32")
        if isinstance(value, tuple)
        else np.asarray(value)
        for name, value in values.items()
    }
