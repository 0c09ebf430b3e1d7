"""The engines that whole models are compared with: ONNX Runtime, and others where installed.

A peer takes a model, the number of threads and the folder of --mnn, and returns a function from
inputs by name to a program without arguments that returns the outputs in the model's order; or
None where the engine or the file is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx

Feed = dict[str, np.ndarray]
Program = Callable[[], Sequence[np.ndarray]]
Prepare = Callable[[Feed], Program]


def onnxruntime(path: Path, threads: int, _mnn: Path | None) -> Prepare | None:
    """ONNX Runtime with all its optimisations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda feed: lambda: session.run(None, feed)


def openvino(path: Path, threads: int, _mnn: Path | None) -> Prepare | None:
    """OpenVINO reads ONNX itself; float32 throughout, so that it does the same work."""
    if find_spec("openvino") is None:
        return None
    import openvino  # type: ignore[import-not-found]

    core = openvino.Core()
    properties = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    try:
        compiled = core.compile_model(core.read_model(path), "CPU", properties)
    except RuntimeError:  # an operator that it lacks
        return None

    request = compiled.create_infer_request()

    def prepare(feed: Feed) -> Program:
        arrays = list(feed.values())
        return lambda: request.infer(arrays, share_inputs=True, share_outputs=True).to_tuple()

    return prepare


def mnn(path: Path, threads: int, folder: Path | None) -> Prepare | None:
    """MNN on a file that `mnnconvert -f ONNX` made."""
    converted = folder / f"{path.stem}.mnn" if folder else None
    if find_spec("MNN") is None or converted is None or not converted.exists():
        return None
    import MNN  # type: ignore[import-not-found]

    config = {"backend": "CPU", "numThread": threads, "precision": "high"}
    manager = MNN.nn.create_runtime_manager((config,))
    outputs = {
        value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        for value in onnx.load(path, load_external_data=False).graph.output
    }

    def given(array: np.ndarray) -> object:
        if array.dtype.kind == "f":
            return MNN.expr.const(array, array.shape)
        # Of integers it has those of 32 bits.
        small = array.astype("int32")
        return MNN.expr.const(small, small.shape, MNN.expr.NCHW, MNN.expr.int)

    def prepare(feed: Feed) -> Program:
        module = MNN.nn.load_module_from_file(
            str(converted), list(feed), list(outputs), runtime_manager=manager
        )
        values = [given(array) for array in feed.values()]
        held: list[Any] = []  # what MNN reads is a view of its result

        def run() -> list[np.ndarray]:
            held[:] = module.forward(values)
            results = zip(held, outputs.values(), strict=True)
            return [result.read().astype(dtype, copy=False) for result, dtype in results]

        return run

    return prepare


PEERS = {"onnxruntime": onnxruntime, "openvino": openvino, "mnn": mnn}
