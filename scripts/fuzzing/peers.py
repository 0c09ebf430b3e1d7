"""A node or a few, by ONNX Runtime; by onnx's reference evaluator where that has no kernel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

IR_VERSION = 10

# Where a kernel of ONNX Runtime differs from the standard the reference evaluator is asked: of an
# empty tensor it keeps the other dims, too, that a reduction with keepdims should make 1, and
# products, recurrent cells and Unique along an axis end the process.
_WRONG_WHEN_EMPTY = ("Reduce", "ArgM", "Einsum", "GRU", "LSTM", "Unique")


class PeerError(Exception):
    """No peer computes the node from these inputs."""


class Peer:
    """Nodes as a model of their own.

    names: of the results. constants: the inputs that do not change. inputs: the others.
    inside: of a body, which only ONNX Runtime can compute as a whole.
    """

    def __init__(
        self,
        nodes: Sequence[onnx.NodeProto],
        names: Iterable[str],
        opset: int,
        constants: Mapping[str, np.ndarray],
        inputs: Sequence[onnx.ValueInfoProto],
        inside: bool = False,
    ) -> None:
        outputs = [helper.make_empty_tensor_value_info(name) for name in names if name]
        weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
        graph = helper.make_graph(nodes, "node", inputs, outputs, weights)
        imports = [helper.make_opsetid("", opset)]
        self._model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
        self._session = _session(self._model)
        self._wrong_when_empty = nodes[-1].op_type.startswith(_WRONG_WHEN_EMPTY)
        self._inside = inside
        self._evaluator: ReferenceEvaluator | None = None

    def element(self, index: int) -> str:
        """The dtype of result `index`, or of its tensors if it is a sequence; "str" if unknown."""
        if self._session is None:
            return "str"
        kind = re.search(r"tensor\((\w+)\)", self._session.get_outputs()[index].type)
        name = kind[1] if kind else "string"
        return {"float": "float32", "double": "float64", "string": "str"}.get(name, name)

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """The results, arrays or lists of them; raises PeerError."""
        try:
            with np.errstate(all="ignore"):
                results = self._results(feeds)
        except Exception as error:  # peers raise all sorts of things
            raise PeerError(str(error)) from error
        return [r if isinstance(r, list) else np.asarray(r) for r in results]

    def _results(self, feeds: Mapping[str, Any]) -> list[Any]:
        empty = self._wrong_when_empty and any(
            isinstance(array, np.ndarray) and array.size == 0 for array in feeds.values()
        )
        if self._session is not None and not empty:
            return list(self._session.run(None, dict(feeds)))
        if self._inside and empty:
            raise PeerError("not with ONNX Runtime")
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
