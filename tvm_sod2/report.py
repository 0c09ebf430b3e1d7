"""What RDP found, as an object that prints well: `tvm_sod2.analyze(mod)`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import relax

from tvm_sod2.memory.text import to_python
from tvm_sod2.op_classes import Fact, fact_of_type
from tvm_sod2.op_classes.expressions import symbols_of
from tvm_sod2.op_classes.fact import entries
from tvm_sod2.passes.bounds import input_symbols
from tvm_sod2.passes.facts import FunctionFacts
from tvm_sod2.passes.interprocedural import propagate_equal, propagate_module
from tvm_sod2.passes.name_unknown import name_unknown_dims
from tvm_sod2.passes.names import Names

Dim = int | str | None
"""An integer, an expression over input dims in Python syntax, or None: bound while running."""


@dataclass(frozen=True)
class ValueReport:
    """One value: its dims, its entries in row-major order where tracked, and who made it so.

    makers, entry_makers: for each None in dims and in value the responsible "node (Operator)".
    constant: a weight or any other value that the importer knew already; not printed.
    """

    name: str
    dtype: str
    dims: tuple[Dim, ...] | None
    value: tuple[Dim, ...] | None = None
    makers: tuple[str | None, ...] = ()
    entry_makers: tuple[str | None, ...] = ()
    constant: bool = False

    @property
    def responsible(self) -> tuple[str, ...]:
        """Whoever is responsible for a None, each once."""
        both = (*self.makers, *self.entry_makers)
        return tuple(dict.fromkeys(maker for maker in both if maker is not None))

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
    symbols: dims of inputs that the model itself determines, with what it makes them.
    constraints: what the model needs of its input dims, checked at entry; conditions: the same as
    expressions.
    equal_if: where the function is built in two versions, when the one is taken in which nothing
    broadcasts by chance; see `passes.versions`.
    """

    function: str
    inputs: dict[str, tuple[Dim, ...]]
    values: dict[str, ValueReport]
    symbols: dict[str, Dim] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    conditions: tuple[Dim, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    equal_if: tuple[str, ...] = ()

    def __str__(self) -> str:
        inputs = ", ".join(f"{name}: {_listed(dims)}" for name, dims in self.inputs.items())
        lines = [f"{self.function}({inputs})"]
        lines += [f"  {value}" for value in self.values.values() if not value.constant]
        lines += [f"  needs: {message}" for message in self.constraints]
        if self.equal_if:
            lines.append(f"  in two versions: equal if {' and '.join(self.equal_if)}")
        lines.append("dims: " + ", ".join(f"{count} {kind}" for kind, count in self.counts.items()))
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The report as plain data, see docs/command-line.md."""
        needs = zip(self.conditions, self.constraints, strict=True)
        return {
            "inputs": {name: list(dims) for name, dims in self.inputs.items()},
            "values": {name: _value_json(value) for name, value in self.values.items()},
            "dims": self.counts,
            "symbols": self.symbols,
            "constraints": [{"condition": c, "message": message} for c, message in needs],
            "equal_if": list(self.equal_if),
        }


def analyze(mod: tvm.IRModule, function: str = "main") -> Report:
    """RDP's facts on one Relax function of the module, which is not changed.

    Raises ShapeError, naming the operator, where dims contradict each other for every input.
    """
    named = name_unknown_dims(mod)
    func = named[function]
    facts = propagate_module(named)
    found = facts[named.get_global_var(function)]
    equal = propagate_equal(func, named, facts) if found.undecided else None
    names = Names(func)
    values = {report.name: report for report in _values(found, names)}
    return Report(
        function,
        {names.value(p): _input_dims(p, found) for p in func.params if _has_dims(p.ty)},
        values,
        {s.name: _dim(found.symbols[s], found) for s in input_symbols(func) if s in found.symbols},
        tuple(constraint.message for constraint in found.constraints),
        tuple(_dim(constraint.condition, found) for constraint in found.constraints),
        _counts(values.values()),
        tuple(to_python(assumed.condition) for assumed in (equal.assumptions if equal else ())),
    )


def _has_dims(ty: tvm.ir.Type) -> bool:
    """Whether it is no sequence or optional."""
    return not isinstance(ty, relax.AnyType)


def _input_dims(parameter: tvm.ir.Var, found: FunctionFacts) -> tuple[Dim, ...]:
    """Integers and symbols: a dim that the others determine goes by the symbol declared for it."""
    declared = _dims(fact_of_type(parameter.ty), found) or ()
    refined = _dims(found.facts[parameter], found) or ()
    pairs = zip(refined, declared, strict=True)
    return tuple(r if isinstance(r, int) or _is_symbol(r) else d for r, d in pairs)


def _values(found: FunctionFacts, names: Names) -> Iterator[ValueReport]:
    """Every value that has a name of its own, those without a Relax variable last."""
    variables: dict[str, tvm.ir.Var] = {}
    for var, fact in found.facts.items():
        variables[var.name] = var
        if isinstance(fact.ty, relax.TensorType) and (not names.from_onnx or names.is_value(var)):
            yield _value_report(names.value(var), var, found, names)
    for name, variable in names.same.items():
        if variable in variables:
            yield _value_report(name, variables[variable], found, names)
    for name, constant in names.constants.items():
        entry = constant.get("value")
        value = None if entry is None else tuple(map(int, entry))
        dims = tuple(map(int, constant["dims"]))
        yield ValueReport(name, str(constant["dtype"]), dims, value, constant=True)


def _value_report(name: str, var: tvm.ir.Var, found: FunctionFacts, names: Names) -> ValueReport:
    fact, node = found.facts[var], names.node(var)
    dims, dtype = _dims(fact, found), str(fact.ty.dtype)
    makers = tuple(_maker(entry, found, node) for entry in entries(fact.dims or []))
    if fact.value is None:
        return ValueReport(name, dtype, dims, None, makers)
    value = tuple(_dim(entry, found) for entry in fact.value.flat)
    # A fraction has no text; that a float tensor is not of whole numbers is nobody's doing.
    least = len(value) if dtype.startswith("float") else min(1, len(value))
    if sum(entry is not None for entry in value) < least:
        return ValueReport(name, dtype, dims, None, makers)
    of_entries = tuple(_maker(entry, found, node) for entry in fact.value.flat)
    return ValueReport(name, dtype, dims, value, makers, of_entries)


def _dims(fact: Fact, found: FunctionFacts) -> tuple[Dim, ...] | None:
    return None if fact.dims is None else tuple(_dim(dim, found) for dim in entries(fact.dims))


def _dim(entry: Any, found: FunctionFacts) -> Dim:
    if isinstance(entry, int):
        return entry
    if isinstance(entry, tvm.tirx.IntImm):
        return int(entry)
    if not isinstance(entry, tvm.ir.Expr) or _run_time_symbols(entry, found):
        return None
    return to_python(entry)


def _maker(entry: Any, found: FunctionFacts, otherwise: str) -> str | None:
    """Who is responsible for a dim or entry that is bound while running, None for any other."""
    if entry is None:
        return otherwise
    if isinstance(entry, int):
        return None
    symbols = _run_time_symbols(entry, found)
    return {**found.nacs, **found.origins}[symbols[0]] if symbols else None


def _run_time_symbols(expr: tvm.ir.Expr, found: FunctionFacts) -> list[tvm.ir.Var]:
    """Symbols that only the run binds."""
    return [s for s in symbols_of(expr) if s in found.origins or s in found.nacs]


def _is_symbol(dim: Dim) -> bool:
    return isinstance(dim, str) and dim.isidentifier()


def _counts(values: Iterable[ValueReport]) -> dict[str, int]:
    counts = {"known": 0, "symbolic": 0, "expression": 0, "unknown": 0}
    for value in values:
        for dim in value.dims or ():
            if dim is None:
                counts["unknown"] += 1
            elif isinstance(dim, int):
                counts["known"] += 1
            else:
                counts["symbolic" if _is_symbol(dim) else "expression"] += 1
    return counts


def _value_json(value: ValueReport) -> dict[str, Any]:
    result: dict[str, Any] = {
        "dtype": value.dtype,
        "dims": None if value.dims is None else list(value.dims),
    }
    if value.value is not None:
        result["value"] = list(value.value)
    if value.responsible:
        parts = [_parts(maker) for maker in value.responsible]
        result["operator"] = ", ".join(dict.fromkeys(operator for _, operator in parts))
        result["node"] = ", ".join(node for node, _ in parts)
        result["responsible"] = list(value.makers)
    return result


def _parts(maker: str) -> tuple[str, str]:
    """The node and the operator in "node (Operator)"."""
    node, _, operator = maker.rpartition(" (")
    return (node, operator.rstrip(")")) if node else (maker, maker)


def _listed(dims: tuple[Dim, ...]) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in dims) + "]"
