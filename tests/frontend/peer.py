"""One build of a graph against ONNX Runtime, fed several times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import onnxruntime
import tvm
from tvm import relax

import tvm_sod2

Feed = Mapping[str, np.ndarray]


def parsed(text: str, opset: int = 18) -> onnx.ModelProto:
    """The model of a graph in ONNX's text form; com.microsoft's operators may be in it."""
    sets = f'["" : {opset}, "com.microsoft" : 1, "ai.onnx.ml" : 3]'
    return onnx.parser.parse_model(f"<ir_version: 8, opset_import: {sets}> g" + text)


def check(
    model: onnx.ModelProto, feeds: Iterable[Feed], rtol: float = 1e-4, atol: float = 1e-5
) -> None:
    """Assert that one build gives what ONNX Runtime gives, dtypes and shapes included."""
    executable = tvm_sod2.build(tvm_sod2.from_onnx(model))
    run = relax.VirtualMachine(executable, tvm.cpu())["main"]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in model.graph.output]
    for feed in feeds:
        shapes = {name: value.shape for name, value in feed.items()}
        expected = session.run(None, dict(feed))
        found = run(*(tvm.runtime.tensor(value) for value in feed.values()))
        outputs = [found] if len(expected) == 1 else list(found)
        for name, mine, theirs in zip(names, outputs, expected, strict=True):
            assert mine.numpy().dtype == theirs.dtype, name
            np.testing.assert_allclose(mine.numpy(), theirs, rtol, atol, err_msg=f"{name} {shapes}")
