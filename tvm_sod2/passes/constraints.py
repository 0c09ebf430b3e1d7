"""What a model needs of its input dims, collected by RDP for the check at entry."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from functools import reduce
from itertools import combinations

import tvm
import tvm_ffi
from tvm import tirx

from tvm_sod2.errors import ShapeError
from tvm_sod2.memory.text import to_python
from tvm_sod2.op_classes import Agreement, Arithmetic
from tvm_sod2.op_classes.expressions import Entry, as_expr, symbols_of
from tvm_sod2.op_classes.shapes.broadcast import parts_of
from tvm_sod2.op_classes.symbolic import DIM_LIMIT
from tvm_sod2.passes.inversion import interval_of, solve


@dataclass(frozen=True)
class Constraint:
    """A condition over input dims that the model needs, and what to say when it does not hold.

    assumed: the model does not need it, it has been taken to hold.
    """

    condition: tvm.ir.Expr
    message: str
    assumed: bool = False


@dataclass
class Knowledge:
    """What earlier sweeps established of symbols; later sweeps start from it.

    values: a symbol that is an expression over others. bounds: low and high of a symbol, inclusive.
    grounds: the constraints that make this so; the check at entry makes sure of them.
    reasons: of a symbol with a value, the message of what makes it so.
    """

    values: dict[tvm.ir.Var, Entry] = field(default_factory=dict)
    bounds: dict[tvm.ir.Var, tuple[int, int]] = field(default_factory=dict)
    grounds: list[Constraint] = field(default_factory=list)
    reasons: dict[tvm.ir.Var, str] = field(default_factory=dict)

    def narrow(self, symbol: tvm.ir.Var, low: int, high: int) -> bool:
        """Intersect the symbol's bounds; whether that says anything new."""
        old = self.bounds.get(symbol, (0, DIM_LIMIT))
        new = max(old[0], low), min(old[1], high)
        if new == old or new[0] > new[1]:
            return False
        self.bounds[symbol] = new
        if new[0] == new[1]:
            self.values[symbol] = new[0]
        return True


class Constraints:
    """The conditions of one sweep.

    run_time: symbols that only the run binds; a condition on them is not one on input dims.
    stand_ins: those of them that stand for nac, in this sweep only: they are no solution.
    """

    def __init__(
        self,
        arithmetic: Arithmetic,
        run_time: Container[tvm.ir.Var],
        stand_ins: Container[tvm.ir.Var],
    ) -> None:
        self._arithmetic = arithmetic
        self._run_time = run_time
        self._stand_ins = stand_ins
        self._equal: list[tuple[Entry, Entry, str]] = []
        self._sizes: set[tvm_ffi.StructuralKey] = set()
        self._recorded: set[tvm_ffi.StructuralKey] = set()
        self._broadcasting: set[frozenset[tvm_ffi.StructuralKey]] = set()
        self.found: list[Constraint] = []
        self.undecided = False
        """Whether assuming would prove dims equal that might broadcast."""
        self.arms = 0
        """How many arms of control flow the sweep is in: what only an arm needs binds nobody."""

    def equal(self, dim: Entry, expected: Entry, where: str) -> None:
        """Require `dim == expected`; raises ShapeError where no input can satisfy it."""
        if self.arms or self._arithmetic.equal(dim, expected):
            return
        message = f"{where} is {_text(dim)}, expected {_text(expected)}"
        if self._arithmetic.differ(dim, expected):
            raise ShapeError(message)
        if isinstance(dim, int):
            dim, expected = expected, dim
        if not any(s in self._stand_ins for e in (dim, expected) for s in _symbols(e)):
            self._equal.append((dim, expected, message))
        self._record(tirx.EQ(dim, as_expr(expected)), message)

    def broadcast(self, agreement: Agreement, where: str) -> bool:
        """Require a dim to be as agreed, or one of those that may be 1 instead to be 1; whether it
        is as agreed then.

        Raises ShapeError where no input can satisfy it.
        """
        arithmetic, dim, expected = self._arithmetic, agreement.dim, agreement.expected
        ones = [(one, 1) for one in agreement.unless if not arithmetic.differ(one, 1)]
        if not ones:
            self.equal(dim, expected, where)
            return True
        decided = arithmetic.differ(dim, expected)
        if decided and len(ones) == 1:
            self.equal(*ones[0], where)
            return False
        if not decided and arithmetic.takes_equal(dim, expected):
            message = f"{where} is {_text(dim)}, taken to be {_text(expected)}"
            self._equal.append((dim, expected, message))
            self._record(tirx.EQ(as_expr(dim), as_expr(expected)), message, assumed=True)
            return True
        if self._known_to_broadcast(agreement):
            return False
        self.undecided |= not decided and arithmetic.known_at_entry(dim, expected)
        if not self.arms:
            if len(agreement.unless) == 2:
                self._broadcasting.add(frozenset(map(_key, (dim, expected))))
            either = " unless one of them is 1" if len(ones) > 1 else " or 1"
            message = f"{where} is {_text(dim)}, expected {_text(expected)}{either}"
            pairs = ones if decided else [(dim, expected), *ones]
            conditions = [tirx.EQ(as_expr(a), as_expr(b)) for a, b in pairs]
            self._record(reduce(tirx.Or, conditions), message)
        return False

    def _known_to_broadcast(self, agreement: Agreement) -> bool:
        """Whether the two are made of dims each two of which have to broadcast already."""
        dim, expected = (set(map(_key, parts_of(e))) for e in (agreement.dim, agreement.expected))
        if len(agreement.unless) < 2 and not dim <= expected:
            return False
        return all(
            frozenset(pair) in self._broadcasting for pair in combinations(dim | expected, 2)
        )

    def not_zero(self, dim: tvm.ir.Expr, message: str) -> None:
        """Require `dim != 0`."""
        if not self.arms:
            self._record(tirx.NE(dim, as_expr(0)), message)

    def large_enough(self, dims: Iterable[Entry], filled: Container[int], where: str) -> None:
        """Require dims of `where` to be 0 or more, those of the axes `filled` 1 or more.

        Each that is not so for all inputs is recorded once. Raises ShapeError where none can do.
        """
        for axis, dim in enumerate(dims):
            least = int(axis in filled)
            if self.arms or dim is None or (isinstance(dim, tvm.ir.Var) and not least):
                continue
            message = f"{where}: dim {axis} of its result is {_text(dim)}, expected {least} or more"
            if isinstance(dim, int):
                if dim < least:
                    raise ShapeError(message)
                continue
            key = tvm_ffi.StructuralKey(dim - least)
            if key in self._sizes:
                continue
            self._sizes.add(key)
            if not self._arithmetic.not_negative(self._arithmetic.subtract(dim, least)):
                self._record(tirx.GE(dim, as_expr(least)), message)

    def _record(self, condition: tvm.ir.Expr, message: str, assumed: bool = False) -> None:
        key = tvm_ffi.StructuralKey(condition)
        if key in self._recorded:
            return
        if not any(symbol in self._run_time for symbol in symbols_of(condition)):
            self._recorded.add(key)
            self.found.append(Constraint(condition, message, assumed))

    def teach(self, known: Knowledge, rank: dict[tvm.ir.Var, int]) -> bool:
        """Add to `known` what the conditions say of single symbols; whether that is anything new.

        rank: the symbols that may be solved for; of two, the one of higher rank is.
        """
        before = len(known.values), dict(known.bounds)
        # Equalities first: what they imply needs no ground of its own.
        for constraint in sorted(self.found, key=lambda c: isinstance(c.condition, tirx.GE)):
            if self._bounds(constraint.condition, known):
                known.grounds.append(constraint)
        for dim, expected, message in self._equal:
            solution = solve(dim, expected, rank, self._arithmetic)
            if solution is None or solution.symbol in known.values:
                continue
            if any(symbol in known.values for symbol in _symbols(solution.value)):
                continue  # Its own value is news of this sweep: the next one says it simpler.
            known.values[solution.symbol] = solution.value
            known.reasons[solution.symbol] = message
            ground = next((c for c in self.found if _states(c, dim, expected)), None)
            if ground is not None and ground not in known.grounds:
                known.grounds.append(ground)
        return before != (len(known.values), known.bounds)

    def _bounds(self, condition: tvm.ir.Expr, known: Knowledge) -> bool:
        if isinstance(condition, tirx.Or):
            return False
        constant = condition.b
        if not isinstance(constant, tirx.IntImm):
            return False
        low, high = int(constant), int(constant)
        if isinstance(condition, tirx.GE):
            high = DIM_LIMIT
        elif isinstance(condition, tirx.NE):
            low, high = 1, DIM_LIMIT
            if int(constant) != 0 or not self._arithmetic.not_negative(condition.a):
                return False
        found = interval_of(condition.a, low, high)
        return found is not None and known.narrow(*found)


def _states(constraint: Constraint, dim: Entry, expected: Entry) -> bool:
    condition = constraint.condition
    if not isinstance(condition, tirx.EQ) or not condition.a.same_as(dim):
        return False
    if isinstance(expected, int):
        return isinstance(condition.b, tirx.IntImm) and int(condition.b) == expected
    return bool(condition.b.same_as(expected))


def _key(entry: Entry) -> tvm_ffi.StructuralKey:
    return tvm_ffi.StructuralKey(as_expr(entry))


def _symbols(entry: Entry) -> list[tvm.ir.Var]:
    return [] if isinstance(entry, int) else symbols_of(entry)


def _text(entry: Entry) -> str:
    return str(entry) if isinstance(entry, int) else to_python(entry)
