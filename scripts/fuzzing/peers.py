"""One node at a time, by ONNX Runtime; by onnx's reference evaluator where that has no kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

IR_VERSION = 10

# Where a kernel of ONNX Runtime differs from the standard the reference evaluator is asked: of an
# empty tensor it keeps the other dims, too, that a reduction with keepdims should make 1.
_WRONG_WHEN_EMPTY = ("Reduce", "ArgM")


class PeerError(Exception):
    """No peer computes the node from these inputs."""


class Peer:
    """A node as a model of its own. `constants` are the inputs that do not change."""

    def __init__(
        self,
        node: onnx.NodeProto,
        opset: int,
        constants: Mapping[str, np.ndarray],
        dtypes: Mapping[str, np.dtype],
    ) -> None:
        inputs = [_typed(name, dtype) for name, dtype in dtypes.items()]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
        graph = helper.make_graph([node], "node", inputs, outputs, weights)
        imports = [helper.make_opsetid("", opset)]
        self._model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
        self._session = _session(self._model)
        self._wrong_when_empty = node.op_type.startswith(_WRONG_WHEN_EMPTY)
        self._evaluator: ReferenceEvaluator | None = None

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The node's results; raises PeerError."""
        try:
            with np.errstate(all="ignore"):
                results = self._results(feeds)
        except Exception as error:  # peers raise all sorts of things
            raise PeerError(str(error)) from error
        return [np.asarray(result) for result in results]

    def _results(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        empty = self._wrong_when_empty and any(array.size == 0 for array in feeds.values())
        if self._session is not None and not empty:
            return list(self._session.run(None, dict(feeds)))
        if self._evaluator is None:
            self._evaluator = ReferenceEvaluator(self._model)
        return list(self._evaluator.run(None, dict(feeds)))


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession | None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        return None
    except Exception as error:
        raise PeerError(str(error)) from error


def _typed(name: str, dtype: np.dtype) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), None)


def read_names(node: onnx.NodeProto) -> Iterator[str]:
    """The names of outer values that a node reads, also from its subgraphs."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield from _captured(attribute.g)


def _captured(graph: onnx.GraphProto) -> Iterator[str]:
    own = {value.name for value in graph.input}
    for node in graph.node:
        yield from (name for name in read_names(node) if name not in own)
        own |= set(node.output)
    yield from (value.name for value in graph.output if value.name not in own)
