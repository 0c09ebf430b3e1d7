"""Models written as ONNX text, built with tvm_sod2 and compared with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import tvm

from tvm_sod2 import build, from_onnx

Feed = dict[str, Any]


def model(signature: str, body: str, opset: int = 18) -> onnx.ModelProto:
    """A model from ``"(float[n] x) => (float[m] y)"`` and its nodes."""
    head = f'<ir_version: 9, opset_import: ["" : {opset}]>'
    return onnx.parser.parse_model(f"{head} graph {signature} {{ {body} }}")


def compiled(proto: onnx.ModelProto) -> Callable[..., list[Any]]:
    """The model as a function of arrays, lists of them, and None."""
    vm = tvm.relax.VirtualMachine(build(from_onnx(proto)), tvm.cpu())
    alone = len(proto.graph.output) == 1

    def call(*inputs: Any) -> list[Any]:
        result = vm["main"](*map(given, inputs))
        return [taken(result)] if alone else [taken(value) for value in result]

    return call


def check(proto: onnx.ModelProto, *feeds: Feed) -> None:
    """One build agrees with ONNX Runtime on every feed: in length, shapes, dtypes and values."""
    ours = compiled(proto)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    names = [value.name for value in proto.graph.input]
    for feed in feeds:
        expected = session.run(None, feed)
        got = ours(*(feed[name] for name in names))
        assert len(got) == len(expected)
        for mine, theirs in zip(got, expected, strict=True):
            agree(mine, theirs)


def agree(mine: Any, theirs: Any) -> None:
    """Equal, to the last element of sequences; None is an empty optional."""
    if theirs is None or mine is None:
        assert mine is None and theirs is None
        return
    if isinstance(theirs, list):
        assert isinstance(mine, list) and len(mine) == len(theirs)
        for pair in zip(mine, theirs, strict=True):
            agree(*pair)
        return
    theirs = np.asarray(theirs)
    assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
    np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def given(value: Any) -> Any:
    if value is None:
        return None
    return [given(v) for v in value] if isinstance(value, list) else tvm.runtime.tensor(value)


def taken(value: Any) -> Any:
    if value is None:
        return None
    return value.numpy() if hasattr(value, "numpy") else [taken(item) for item in value]


def floats(*shapes: tuple[int, ...], seed: int = 0) -> list[np.ndarray]:
    """One array of each shape."""
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=shape), "float32") for shape in shapes]


def index(number: int) -> np.ndarray:
    """A scalar position or count."""
    return np.asarray(number, "int64")
