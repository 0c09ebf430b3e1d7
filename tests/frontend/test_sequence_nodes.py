"""The onnx package's own node tests of sequences and optionals, in the whole pipeline."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from sequence_graphs import agree, compiled

from tvm_sod2.frontend.check import walk

FAMILY = ("Sequence", "Optional")


def cases() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    return {case.name: case for case in found if _concerned(case) and "_expanded" not in case.name}


def _concerned(case: Any) -> bool:
    if case.model is None:
        return False
    graph = case.model.graph
    inputs = any(not value.type.HasField("tensor_type") for value in graph.input)
    named = (node.op_type for node in walk(graph) if node.op_type != "ReverseSequence")
    return inputs or any(word in name for name in named for word in FAMILY)


CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_node_tests_of_onnx(name: str) -> None:
    case = CASES[name]
    inputs, outputs = case.data_sets[0]
    got = compiled(case.model)(*map(_array, inputs))
    agree(got, [_array(value) for value in outputs])


def _array(value: Any) -> Any:
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list):
        return [_array(item) for item in value]
    return None if value is None else np.asarray(value)
