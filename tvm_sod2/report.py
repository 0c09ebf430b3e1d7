"""What RDP found, as an object that prints well: `tvm_sod2.analyze(mod)`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import relax

from tvm_sod2.memory.text import to_python
from tvm_sod2.op_classes import Fact
from tvm_sod2.op_classes.fact import entries
from tvm_sod2.op_classes.symbolic import symbols_of
from tvm_sod2.passes.facts import FunctionFacts
from tvm_sod2.passes.name_unknown import name_unknown_dims
from tvm_sod2.passes.names import Names
from tvm_sod2.passes.rdp import propagate

Dim = int | str | None
"""An integer, an expression over input dims in Python syntax, or None: bound while running."""


@dataclass(frozen=True)
class ValueReport:
    """One value: its dims, its entries where tracked, and who is responsible for each None."""

    name: str
    dtype: str
    dims: tuple[Dim, ...] | None
    value: tuple[Dim, ...] | None = None
    responsible: tuple[str, ...] = ()

    def __str__(self) -> str:
        dims = "unknown rank" if self.dims is None else _listed(self.dims)
        text = f"{self.name}: {self.dtype} {dims}"
        if self.value is not None:
            text += f" = {_listed(self.value)}"
        return text + (f"  (? by {', '.join(self.responsible)})" if self.responsible else "")


@dataclass(frozen=True)
class Report:
    """RDP's facts on one function.

    inputs and values are by ONNX name where the module came from ONNX, else by Relax name.
    constraints: what the model needs of its input dims, checked at entry.
    """

    function: str
    inputs: dict[str, tuple[Dim, ...]]
    values: dict[str, ValueReport]
    constraints: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        inputs = ", ".join(f"{name}: {_listed(dims)}" for name, dims in self.inputs.items())
        lines = [f"{self.function}({inputs})"]
        lines += [f"  {value}" for value in self.values.values()]
        lines += [f"  needs: {message}" for message in self.constraints]
        lines.append("dims: " + ", ".join(f"{count} {kind}" for kind, count in self.counts.items()))
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The report as plain data, see docs/command-line.md."""
        return {
            "function": self.function,
            "inputs": {name: list(dims) for name, dims in self.inputs.items()},
            "values": {name: _value_json(value) for name, value in self.values.items()},
            "constraints": list(self.constraints),
            "dims": self.counts,
        }


def analyze(mod: tvm.IRModule, function: str = "main") -> Report:
    """RDP's facts on one Relax function of the module, which is not changed.

    Raises ShapeError, naming the operator, where dims contradict each other for every input.
    """
    named = name_unknown_dims(mod)
    func = named[function]
    found = propagate(func)
    names = Names(func)
    inputs = {names.value(p): _dims(found.facts[p], found) or () for p in func.params}
    values: dict[str, ValueReport] = {}
    for var, fact in found.facts.items():
        report = _value_report(names.value(var), fact, found)
        if report is not None and (not names.from_onnx or names.is_value(var)):
            values[report.name] = report
    return Report(
        function,
        inputs,
        values,
        tuple(constraint.message for constraint in found.constraints),
        _counts(values),
    )


def _value_report(name: str, fact: Fact, found: FunctionFacts) -> ValueReport | None:
    if not isinstance(fact.ty, relax.TensorType):
        return None
    dims = _dims(fact, found)
    value = None
    if fact.value is not None:
        value = tuple(_dim(entry, found) for entry in fact.value.flat)
    return ValueReport(name, str(fact.ty.dtype), dims, value, _responsible(fact, found))


def _dims(fact: Fact, found: FunctionFacts) -> tuple[Dim, ...] | None:
    if fact.dims is None:
        return None
    return tuple(_dim(entry, found) for entry in entries(fact.dims))


def _dim(entry: Any, found: FunctionFacts) -> Dim:
    if entry is None or isinstance(entry, int):
        return entry
    return None if _run_time_symbols(entry, found) else to_python(entry)


def _responsible(fact: Fact, found: FunctionFacts) -> tuple[str, ...]:
    symbols = [s for dim in fact.dims or () for s in _run_time_symbols(dim, found)]
    return tuple(dict.fromkeys({**found.nacs, **found.origins}[s] for s in symbols))


def _run_time_symbols(expr: tvm.ir.Expr, found: FunctionFacts) -> list[tvm.ir.Var]:
    """Symbols that only the run binds."""
    return [s for s in symbols_of(expr) if s in found.origins or s in found.nacs]


def _counts(values: dict[str, ValueReport]) -> dict[str, int]:
    counts = {"known": 0, "symbolic": 0, "expression": 0, "unknown": 0}
    for value in values.values():
        for dim in value.dims or ():
            if dim is None:
                counts["unknown"] += 1
            elif isinstance(dim, int):
                counts["known"] += 1
            else:
                counts["symbolic" if dim.isidentifier() else "expression"] += 1
    return counts


def _value_json(value: ValueReport) -> dict[str, Any]:
    result: dict[str, Any] = {
        "dtype": value.dtype,
        "dims": None if value.dims is None else list(value.dims),
    }
    if value.value is not None:
        result["value"] = list(value.value)
    if value.responsible:
        result["operator"] = [_operator(name) for name in value.responsible]
        result["node"] = list(value.responsible)
    return result


def _operator(node: str) -> str:
    """The operator in "node name (OpType)"."""
    return node.rpartition("(")[2].rstrip(")")


def _listed(dims: tuple[Dim, ...]) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in dims) + "]"
