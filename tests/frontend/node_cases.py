"""The onnx package's node tests, several in one model so that they compile quickly."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

import onnx
from onnx import defs, numpy_helper

from scripts import node_test_cases
from scripts.node_test_cases import Case
from tvm_sod2.frontend import converters
from tvm_sod2.frontend.check import operator_key, walk
from tvm_sod2.frontend.converters import CONVERTERS

# Inputs that decide the rank of a result or the code of a kernel: constants, in practice.
_FIXED = {"axes", "axis", "K", "k", "steps", "tiles"}
# Vectors whose length decides a rank: their entries stay run-time values, their length is known.
_SHAPE_LIKE = {
    *("shape", "split", "starts", "ends", "repeats", "pads", "roi", "scales", "sizes", "input"),
    *("output_shape",),
}

# With kernels or loops of tvm_sod2's own, which TVM's stock pipeline does not take: these run in
# scripts/node_tests.py and in the tests of the whole pipeline.
_OWN_KERNELS = (
    *("deform", "fourier", "integer", "loops", "ngrams", "optional", "sampling", "scan"),
    *("selection", "sequence", "sequence_map", "sequence_parts"),
)
_NOT_FOR_STOCK = {
    operator for family in _OWN_KERNELS for operator in getattr(converters, family).CONVERTERS
} | {"CumProd", "CumSum", "Dropout"}


@functools.cache
def all_cases() -> list[Case]:
    """Return the tests of operators that have converters, without those of function bodies."""
    return [
        _prepared(case)
        for name, case in sorted(node_test_cases.all_cases().items())
        if "_expanded" not in name
        and all(operator_key(node) in CONVERTERS for node in walk(case.model.graph))
    ]


def stock_cases() -> list[Case]:
    """Return those of all cases that TVM's stock pipeline can compile once they are imported."""
    return [
        case
        for case in all_cases()
        if not any(operator_key(node) in _NOT_FOR_STOCK for node in walk(case.model.graph))
        and all(value.type.HasField("tensor_type") for value in case.model.graph.input)
    ]


def _prepared(case: Case) -> Case:
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    given = dict(zip([value.name for value in graph.input], case.inputs, strict=False))
    fixed = {n: array for n, array in given.items() if _formal_name(graph, n) in _FIXED}
    graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in fixed.items())
    kept = [value for value in graph.input if value.name not in fixed]
    del graph.input[:]
    graph.input.extend(kept)
    # TVM's stock lowering is less exact; 16-bit floats are computed in 32 bits and rounded once.
    dtypes = {str(getattr(array, "dtype", "")) for array in case.outputs}
    half = bool(dtypes & {"float16", "bfloat16"})
    return replace(
        case,
        model=model,
        inputs=[array for name, array in given.items() if name not in fixed],
        rtol=max(case.rtol, 1e-2 if half else 1e-3),
        atol=max(case.atol, 1e-3 if half else 1e-5),
    )


def _formal_name(graph: onnx.GraphProto, name: str) -> str:
    """Return what the operator's schema calls an input."""
    for node in graph.node:
        if name in node.input and not node.domain:
            formal = defs.get_schema(node.op_type).inputs
            return str(formal[min(list(node.input).index(name), len(formal) - 1)].name)
    return ""


def symbolic(case: Case) -> Case:
    """Return the case with every dim of its inputs unknown, but for shape-like vectors' lengths."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 1 and _formal_name(model.graph, value.name) in _SHAPE_LIKE:
            continue
        for axis, dim in enumerate(dims):
            dim.dim_param = f"{value.name}_{axis}"
    return replace(case, model=model)


def groups(cases: list[Case], size: int) -> Iterator[list[Case]]:
    """Yield the cases in groups that may share a model."""
    for key in sorted({case.group_key() for case in cases}):
        members = [case for case in cases if case.group_key() == key]
        for start in range(0, len(members), size):
            yield members[start : start + size]
