"""The node tests of the onnx package: cases, judgement, and merging."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

_NEWEST_IR = 10  # ONNX Runtime refuses newer files, though it knows the operators
_NOT_CORE = ("string", "float8", "int4", "bf", "bfloat16", "float4", "e4m3", "e5m2", "int2", "e8m0")
_NOT_CORE_TYPES = {
    TensorProto.STRING,
    TensorProto.BFLOAT16,
    *(v for k, v in TensorProto.DataType.items() if re.match(r"FLOAT[48]|U?INT[24]$", k)),
}
_EXACT = "biuOSUT"  # kinds of whole numbers, truth values and strings


@dataclass
class Case:
    """One node test: the model as onnx generates it, one set of inputs and expected outputs."""

    name: str
    model: onnx.ModelProto
    inputs: list[Any]
    outputs: list[Any]
    rtol: float
    atol: float

    @property
    def core(self) -> bool:
        """Of the default domain, no function body spelled out, of ordinary element types."""
        if "_expanded" in self.name or any(word in self.name.lower() for word in _NOT_CORE):
            return False
        graph = self.model.graph
        if any(node.domain not in ("", "ai.onnx") for node in graph.node):
            return False
        types = {v.type.tensor_type.elem_type for v in [*graph.input, *graph.output]}
        return not types & _NOT_CORE_TYPES

    def group_key(self) -> tuple[tuple[str, int], ...]:
        """Cases of one key may share a model: equal operator sets."""
        return tuple(sorted((entry.domain, entry.version) for entry in self.model.opset_import))


def all_cases() -> dict[str, Case]:
    """The node tests by name."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = collect_testcases(None)
    return {
        test.name: Case(
            test.name,
            test.model,
            [_array(value) for value in test.data_sets[0][0]],
            [_array(value) for value in test.data_sets[0][1]],
            test.rtol,
            test.atol,
        )
        for test in tests
        if test.model is not None and test.data_sets
    }


def _array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list):
        return [_array(item) for item in value]
    return value if value is None or isinstance(value, np.ndarray) else np.asarray(value)


def mismatch(case: Case, got: list[Any]) -> str:
    """What is wrong with the outputs, "" if nothing."""
    if len(got) != len(case.outputs):
        return f"{len(got)} outputs instead of {len(case.outputs)}"
    for mine, expected in zip(got, case.outputs, strict=True):
        reason = _difference(mine, expected, case)
        if reason:
            return reason
    return ""


def _difference(mine: Any, expected: Any, case: Case) -> str:
    if isinstance(expected, list):
        if len(mine) != len(expected):
            return f"a sequence of {len(mine)} instead of {len(expected)}"
        parts = (_difference(a, b, case) for a, b in zip(mine, expected, strict=True))
        return next(filter(None, parts), "")
    mine = np.asarray(mine)
    if mine.shape != expected.shape or mine.dtype != expected.dtype:
        return f"{mine.dtype}{mine.shape} instead of {expected.dtype}{expected.shape}"
    if expected.dtype.kind in _EXACT:
        same = bool((mine == expected).all())
    else:
        wide = "complex128" if expected.dtype.kind == "c" else "float64"
        close = mine.astype(wide), expected.astype(wide)
        same = np.allclose(*close, case.rtol, case.atol, equal_nan=True)
    return "" if same else f"{mine.ravel()[:6]} instead of {expected.ravel()[:6]}"


def passed_by_onnx_runtime(cases: dict[str, Case], cache: Path) -> set[str]:
    """Names of the cases that ONNX Runtime passes; remembered in `cache`, case by case."""
    import onnxruntime

    versions = [onnx.__version__, onnxruntime.__version__]
    found: dict[str, Any] = {"versions": versions, "passed": {}}
    if cache.exists():
        remembered = json.loads(cache.read_text())
        if remembered["versions"] == versions and isinstance(remembered["passed"], dict):
            found = remembered
    known: dict[str, bool] = found["passed"]
    new = {name: case for name, case in cases.items() if name not in known}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    for name, case in new.items():
        known[name] = _passes(case, options)
    if new:
        cache.write_text(json.dumps(found))
    return {name for name in cases if known[name]}


def _passes(case: Case, options: Any) -> bool:
    import onnxruntime

    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.ir_version = min(model.ir_version, _NEWEST_IR)
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [value.name for value in session.get_inputs()]
        return not mismatch(case, session.run(None, dict(zip(names, case.inputs, strict=True))))
    except Exception:  # whatever it raises, the case does not count
        return False


def symbolic(case: Case) -> Case:
    """The case with every dim above 1 of its inputs unknown."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for value in model.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_value > 1:
                dim.dim_param = f"{value.name}_{axis}"
    return Case(case.name, model, case.inputs, case.outputs, case.rtol, case.atol)


def merged(cases: list[Case]) -> onnx.ModelProto:
    """One model that holds all cases side by side."""
    graph = onnx.GraphProto(name="cases")
    functions = []
    for number, case in enumerate(cases):
        part = onnx.compose.add_prefix_graph(case.model.graph, f"c{number}_")
        for value in part.input:
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:
                    dim.dim_param = f"c{number}_{dim.dim_param}"
        for field in ("node", "input", "output", "initializer"):
            getattr(graph, field).extend(getattr(part, field))
        functions.extend(case.model.functions)
    imports = cases[0].model.opset_import
    return onnx.helper.make_model(graph, opset_imports=imports, functions=functions)
