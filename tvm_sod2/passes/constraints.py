"""What a model needs of its input dims, collected by RDP for the check at entry."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import tirx

from tvm_sod2.errors import ShapeError
from tvm_sod2.memory.text import to_python
from tvm_sod2.op_classes import Arithmetic
from tvm_sod2.op_classes.symbolic import Entry, as_expr, substitute_part, symbols_of


@dataclass(frozen=True)
class Constraint:
    """A condition over input dims that the model needs, and what to say when it does not hold."""

    condition: tvm.ir.Expr
    message: str


class Constraints:
    """Conditions found so far. Proofs may use the equalities: the check at entry makes them true.

    run_time: the symbols that only the run binds; a condition on them is not one on input dims.
    """

    def __init__(self, arithmetic: Arithmetic, run_time: Container[tvm.ir.Var]) -> None:
        self._arithmetic = arithmetic
        self._run_time = run_time
        self._found: list[Constraint] = []
        self._pinned: list[tuple[tvm.ir.Expr, int]] = []

    def equal(self, dim: Entry, expected: Entry, where: str) -> None:
        """Require `dim == expected`; raises ShapeError where no input can satisfy it."""
        dim, expected = self._given(dim), self._given(expected)
        if self._arithmetic.equal(dim, expected):
            return
        message = f"{where} is {_text(dim)}, expected {_text(expected)}"
        if self._arithmetic.differ(dim, expected):
            raise ShapeError(message)
        if isinstance(dim, int):
            dim, expected = expected, dim
        if self.condition(tirx.EQ(dim, as_expr(expected)), message) and isinstance(expected, int):
            self._pinned.append((dim, expected))

    def condition(self, condition: tvm.ir.Expr, message: str) -> bool:
        """Require a condition; False where only the run can tell, and nothing is recorded."""
        if any(symbol in self._run_time for symbol in symbols_of(condition)):
            return False
        self._found.append(Constraint(condition, message))
        return True

    def essential(self) -> list[Constraint]:
        """The conditions, without those that follow from dims pinned to a constant after them."""
        pins = [tirx.EQ(dim, as_expr(value)) for dim, value in self._pinned]
        return [
            c
            for c in self._found
            if any(tvm_ffi.structural_equal(c.condition, pin) for pin in pins)
            or self._given(c.condition) != 1
        ]

    def _given(self, entry: Entry) -> Entry:
        for dim, value in self._pinned:
            entry = self._arithmetic.simplify(substitute_part(entry, dim, value))
        return entry


def _text(entry: Entry) -> str:
    return str(entry) if isinstance(entry, int) else to_python(entry)
