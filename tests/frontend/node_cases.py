"""The onnx package's node tests, several in one model so that they compile quickly."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import defs, numpy_helper

from tvm_sod2.frontend.check import operator_key, walk
from tvm_sod2.frontend.converters import (
    CONVERTERS,
    deform,
    fourier,
    integer,
    loops,
    ngrams,
    optional,
    sampling,
    scan,
    selection,
    sequence,
    sequence_map,
    sequence_parts,
)

# Inputs that decide the rank of a result or the code of a kernel: constants, in practice.
_FIXED = {"axes", "axis", "K", "k", "steps", "tiles"}
# Vectors whose length decides a rank: their entries stay run-time values, their length is known.
_SHAPE_LIKE = {
    *("shape", "split", "starts", "ends", "repeats", "pads", "roi", "scales", "sizes", "input"),
    *("output_shape",),
}

# With kernels or loops of tvm_sod2's own, which TVM's stock pipeline does not take: these run in
# scripts/node_tests.py and in the tests of the whole pipeline.
_NOT_FOR_STOCK = {
    operator
    for family in (
        deform,
        fourier,
        integer,
        loops,
        ngrams,
        optional,
        sampling,
        scan,
        selection,
        sequence,
        sequence_map,
        sequence_parts,
    )
    for operator in family.CONVERTERS
} | {"CumProd", "CumSum", "Dropout"}


@dataclass
class NodeCase:
    """One test of the onnx package: ``inputs`` are those left after fixing some as weights."""

    name: str
    model: onnx.ModelProto
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    rtol: float
    atol: float

    @property
    def opset(self) -> int:
        return max(entry.version for entry in self.model.opset_import)


@functools.cache
def all_cases() -> list[NodeCase]:
    """Return the tests of operators that have converters, without those of function bodies."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    return [
        _prepared(case, *data)
        for case in sorted(cases, key=lambda case: case.name)
        if "_expanded" not in case.name
        and all(operator_key(node) in CONVERTERS for node in walk(case.model.graph))
        for data in case.data_sets[:1]
    ]


def stock_cases() -> list[NodeCase]:
    """Return those of all cases that TVM's stock pipeline can compile once they are imported."""
    return [
        case
        for case in all_cases()
        if not any(operator_key(node) in _NOT_FOR_STOCK for node in walk(case.model.graph))
        and all(value.type.HasField("tensor_type") for value in case.model.graph.input)
    ]


def _prepared(case: object, inputs: list, outputs: list) -> NodeCase:
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    arrays = [_array(value) for value in inputs]
    names = [value.name for value in graph.input]
    fixed = {
        name: array
        for name, array in zip(names, arrays, strict=False)
        if _formal_name(graph, name) in _FIXED
    }
    graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in fixed.items())
    kept = [value for value in graph.input if value.name not in fixed]
    del graph.input[:]
    graph.input.extend(kept)
    return NodeCase(
        case.name,
        model,
        [array for name, array in zip(names, arrays, strict=False) if name not in fixed],
        [_array(value) for value in outputs],
        case.rtol,
        case.atol,
    )


def _array(value: object) -> np.ndarray:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return value if isinstance(value, np.ndarray | list) else np.asarray(value)


def _formal_name(graph: onnx.GraphProto, name: str) -> str:
    """Return what the operator's schema calls an input."""
    for node in graph.node:
        if name in node.input and not node.domain:
            formal = defs.get_schema(node.op_type).inputs
            return str(formal[min(list(node.input).index(name), len(formal) - 1)].name)
    return ""


def symbolic(case: NodeCase) -> NodeCase:
    """Return the case with every dim of its inputs unknown, but for shape-like vectors' lengths."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 1 and _formal_name(model.graph, value.name) in _SHAPE_LIKE:
            continue
        for axis, dim in enumerate(dims):
            dim.dim_param = f"{value.name}_{axis}"
    return NodeCase(case.name, model, case.inputs, case.outputs, case.rtol, case.atol)


def merged(cases: list[NodeCase]) -> onnx.ModelProto:
    """Return one model that holds all cases of one opset side by side."""
    graph = onnx.GraphProto(name="cases")
    for number, case in enumerate(cases):
        part = onnx.compose.add_prefix_graph(case.model.graph, f"c{number}_")
        for value in part.input:
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:
                    dim.dim_param = f"c{number}_{dim.dim_param}"
        for field in ("node", "input", "output", "initializer"):
            getattr(graph, field).extend(getattr(part, field))
    model = onnx.helper.make_model(graph, opset_imports=cases[0].model.opset_import)
    return model


def groups(cases: list[NodeCase], size: int) -> Iterator[list[NodeCase]]:
    """Yield the cases in groups of one opset each."""
    for opset in sorted({case.opset for case in cases}):
        members = [case for case in cases if case.opset == opset]
        for start in range(0, len(members), size):
            yield members[start : start + size]


def mismatch(case: NodeCase, outputs: list[np.ndarray]) -> str:
    """Return what is wrong with the outputs of a case, "" if nothing."""
    for got, expected in zip(outputs, case.outputs, strict=True):
        if got.shape != expected.shape or got.dtype != expected.dtype:
            return f"{got.dtype}{got.shape} instead of {expected.dtype}{expected.shape}"
        exact = expected.dtype.kind in "biu"
        # The cases of 16-bit floats are computed in 32 bits and rounded once.
        loose = expected.dtype.itemsize == 2 and not exact
        close = np.allclose(
            got.astype("float64"),
            expected.astype("float64"),
            rtol=0 if exact else max(case.rtol, 1e-2 if loose else 1e-3),
            atol=0 if exact else max(case.atol, 1e-3 if loose else 1e-5),
            equal_nan=True,
        )
        if not close:
            return f"{got.ravel()[:8]} instead of {expected.ravel()[:8]}"
    return ""
