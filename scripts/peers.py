"""Further engines to compare with, where they are installed; none is needed.

A peer takes a model, the number of threads and the folder of --mnn, and returns a function from
inputs by name to a program without arguments; or None where the engine or the file is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

Feed = dict[str, np.ndarray]
Prepare = Callable[[Feed], Callable[[], object]]


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

    def prepare(feed: Feed) -> Callable[[], object]:
        arrays = list(feed.values())
        return lambda: request.infer(arrays, share_inputs=True, share_outputs=True)

    return prepare


def mnn(path: Path, threads: int, folder: Path | None) -> Prepare | None:
    """MNN on a file that `mnnconvert -f ONNX` made."""
    converted = folder / f"{path.stem}.mnn" if folder else None
    if find_spec("MNN") is None or converted is None or not converted.exists():
        return None
    import MNN  # type: ignore[import-not-found]

    manager = MNN.nn.create_runtime_manager(({"backend": "CPU", "numThread": threads},))

    def prepare(feed: Feed) -> Callable[[], object]:
        module = MNN.nn.load_module_from_file(
            str(converted), list(feed), [], runtime_manager=manager
        )
        given = [MNN.expr.const(array, array.shape) for array in feed.values()]
        return lambda: [result.read() for result in module.forward(given)]

    return prepare


PEERS = {"openvino": openvino, "mnn": mnn}
