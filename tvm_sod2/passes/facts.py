"""What RDP found in one function: the hand-over from the analysis to passes and reports."""

from __future__ import annotations

from dataclasses import dataclass, field

import tvm
import tvm_ffi
from tvm import tirx

from tvm_sod2.op_classes import Agreement, Fact
from tvm_sod2.passes.constraints import Constraint


@dataclass
class FunctionFacts:
    """What RDP found in one function.

    facts: per variable. symbols: for a symbol, the expression found for it; that is a fresh symbol
    of a match_cast, or a dim of a parameter that the model forces to a value or to another dim.
    origins: for a symbol that stays fresh, the operator that determines it at run time.
    nacs: stand-ins for dims of which nothing is known and that no match_cast names either.
    agreements: per binding, argument dims that its operator forces to another value.
    constraints: what must hold of the input dims.
    """

    facts: dict[tvm.ir.Var, Fact] = field(default_factory=dict)
    symbols: dict[tvm.ir.Var, tvm.ir.Expr] = field(default_factory=dict)
    origins: dict[tvm.ir.Var, str] = field(default_factory=dict)
    nacs: dict[tvm.ir.Var, str] = field(default_factory=dict)
    agreements: dict[tvm.ir.Var, list[Agreement]] = field(default_factory=dict)
    constraints: list[Constraint] = field(default_factory=list)

    def substitute(self, node: tvm.ir.Type | tvm.ir.Expr) -> tvm.ir.Type | tvm.ir.Expr:
        """The type or expression with every symbol replaced by what was found for it."""
        return substitute(node, self.symbols)


def substitute(
    node: tvm.ir.Type | tvm.ir.Expr, symbols: dict[tvm.ir.Var, tvm.ir.Expr]
) -> tvm.ir.Type | tvm.ir.Expr:
    """A type or expression with symbols replaced."""
    if not symbols or isinstance(node, tirx.IntImm):
        return node
    return tvm_ffi.structural_map(node, (tvm.ir.Var, lambda v: symbols.get(v, v)))
