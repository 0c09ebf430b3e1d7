"""What RDP found in one function: the hand-over from the analysis to passes and reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import tvm
import tvm_ffi
from tvm import relax, tirx

from tvm_sod2.op_classes import Agreement, Arithmetic, Fact, fact_of_type
from tvm_sod2.op_classes.expressions import Entry, as_expr, selected, symbols_of
from tvm_sod2.op_classes.fact import entries
from tvm_sod2.op_classes.shapes import tensor_type
from tvm_sod2.passes.constraints import Constraint

STAND_IN = "nac"
"""Name of the symbols that stand for nac in types, which have no word for it."""


@dataclass
class FunctionFacts:
    """What RDP found in one function.

    facts: per variable. symbols: for a symbol, the expression found for it; that is a fresh symbol
    of a match_cast, or a dim of a parameter that the model forces to a value or to another dim.
    origins: for a symbol that stays fresh, the operator that determines it at run time.
    forced: for a symbol that the run determines and the model forces to what stands in `symbols`,
    what to say when it is not so.
    nacs: stand-ins for dims of which nothing is known and that no match_cast names either.
    agreements: per binding, argument dims that its operator forces to another value.
    constraints: what must hold of the input dims. returned: the result, None for undef.
    assumptions: what the facts rely on besides, where RDP was told to assume. undecided: whether
    assuming would say more.
    """

    facts: dict[tvm.ir.Var, Fact] = field(default_factory=dict)
    symbols: dict[tvm.ir.Var, tvm.ir.Expr] = field(default_factory=dict)
    origins: dict[tvm.ir.Var, str] = field(default_factory=dict)
    forced: dict[tvm.ir.Var, str] = field(default_factory=dict)
    nacs: dict[tvm.ir.Var, str] = field(default_factory=dict)
    agreements: dict[tvm.ir.Var, list[Agreement]] = field(default_factory=dict)
    constraints: list[Constraint] = field(default_factory=list)
    assumptions: list[Constraint] = field(default_factory=list)
    undecided: bool = False
    returned: Fact | None = None

    def substitute(self, node: tvm.ir.Type | tvm.ir.Expr) -> tvm.ir.Type | tvm.ir.Expr:
        """The type or expression with every symbol replaced by what was found for it."""
        return substitute(node, self.symbols)


class CalleeResult(NamedTuple):
    """What RDP knows of a function's result, over the dims of its own parameters; None is undef."""

    func: relax.Function
    fact: Fact | None

    def at(self, arguments: Sequence[Fact], or_nac: Callable[[Entry], Entry]) -> Fact | None:
        """The result of a call on these arguments; what only the callee's run knows is nac."""
        if self.fact is None:
            return None
        dims: dict[tvm.ir.Var, Entry] = {}
        for parameter, argument in zip(self.func.params, arguments, strict=True):
            _bind_dims(fact_of_type(parameter.ty), argument, dims)
        return _instantiated(self.fact, dims, or_nac)


def _bind_dims(pattern: Fact, found: Fact, dims: dict[tvm.ir.Var, Entry]) -> None:
    for inner, outer in zip(pattern.fields, found.fields, strict=False):
        _bind_dims(inner, outer, dims)
    if pattern.dims is None or found.dims is None:
        return
    for symbol, dim in zip(pattern.dims, entries(found.dims), strict=False):
        if isinstance(symbol, tvm.ir.Var):
            dims.setdefault(symbol, dim)


def _instantiated(
    fact: Fact, dims: dict[tvm.ir.Var, Entry], or_nac: Callable[[Entry], Entry]
) -> Fact:
    def entry(found: Entry) -> Entry:
        if found is None or isinstance(found, int):
            return found
        symbols = symbols_of(found)
        if any(dims.get(symbol) is None for symbol in symbols):
            return None
        return entries([substitute(found, {s: as_expr(dims[s]) for s in symbols})])[0]

    if fact.fields:
        fields = tuple(_instantiated(field, dims, or_nac) for field in fact.fields)
        return Fact(relax.TupleType([f.ty for f in fields]), fields=fields)
    value = fact.value
    if value is not None:
        value = entries([entry(e) for e in value.flat], value.shape)
    if fact.dims is None or not isinstance(fact.ty, relax.TensorType):
        return Fact(fact.ty, value)
    found_dims = [or_nac(entry(d)) for d in entries(fact.dims)]
    return Fact(tensor_type(found_dims, fact.ty), value)


def substitute(
    node: tvm.ir.Type | tvm.ir.Expr, symbols: dict[tvm.ir.Var, tvm.ir.Expr]
) -> tvm.ir.Type | tvm.ir.Expr:
    """A type or expression with symbols replaced."""
    if not symbols or isinstance(node, tirx.IntImm):
        return node
    return tvm_ffi.structural_map(node, (tvm.ir.Var, lambda v: symbols.get(v, v)))


def simplified(ty: tvm.ir.Type, arithmetic: Arithmetic) -> tvm.ir.Type:
    """A type whose dims are in canonical form; a condition in one is a Select."""
    if isinstance(ty, relax.TupleType):
        return relax.TupleType([simplified(field, arithmetic) for field in ty.fields])
    fact = Fact(ty)
    if fact.dims is None:
        return ty
    dims = [as_expr(arithmetic.simplify(selected(d))) for d in entries(fact.dims)]
    return relax.ShapeType(dims) if isinstance(ty, relax.ShapeType) else tensor_type(dims, ty)
