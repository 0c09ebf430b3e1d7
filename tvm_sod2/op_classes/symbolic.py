"""Arithmetic on entries: ints stay Python ints, expressions are simplified as they are built.

An entry is int | PrimExpr | Rational | None, None being nac; every operation on nac is nac.
Simplifying at each step keeps a chain of divisions cheap (a whole chain at once costs 40 times
more). A Rational occurs in float tensors only, see rational.py.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from tvm_sod2.op_classes import rational
from tvm_sod2.op_classes.cases import equal_in_all_cases
from tvm_sod2.op_classes.expressions import Entry, as_expr, substitute_part, symbols_of
from tvm_sod2.op_classes.factors import cancelled, without_guard
from tvm_sod2.op_classes.rational import Rational

DIM_LIMIT = 1 << 40
"""Upper bound assumed for a dim without one: lets the analyzer rule out overflow."""


class Arithmetic:
    """Operations on entries under what is known of the symbols (dims are never negative).

    run_time: symbols that only the run binds. assuming: dims that broadcast, of which nothing
    says that they differ, are taken to be equal where that can be decided at entry.
    """

    def __init__(self, run_time: Container[tvm.ir.Var] = (), assuming: bool = False) -> None:
        self.analyzer = tvm.sym.Analyzer()
        self._run_time = run_time
        self._assuming = assuming
        self._bound: dict[tvm.ir.Var, tuple[int, int]] = {}

    def bind(self, symbol: tvm.ir.Var, low: int = 0, high: int = DIM_LIMIT) -> None:
        """State that low <= symbol <= high."""
        if self._bound.get(symbol) == (low, high):
            return
        self._bound[symbol] = (low, high)
        extent = tirx.const(high - low + 1, "int64")
        interval = tvm.ir.Range.from_min_extent(tirx.const(low, "int64"), extent)
        self.analyzer.bind(symbol, interval, allow_override=True)

    def bounds_of(self, entry: tvm.ir.Expr) -> dict[tvm.ir.Var, tuple[int, int]]:
        """The bounds of each symbol in an expression."""
        return {symbol: self._bound.get(symbol, (0, DIM_LIMIT)) for symbol in symbols_of(entry)}

    def simplify(self, entry: Entry) -> Entry:
        """The entry in canonical form, a Python int when constant."""
        if entry is None or isinstance(entry, int):
            return entry
        if isinstance(entry, Rational):
            return Rational(self.simplify(entry.numerator), entry.denominator)
        simple = self._decided(self.analyzer.simplify(entry))
        if isinstance(simple, tirx.IntImm):
            return int(simple)
        bound = self.analyzer.const_int_bound(simple)
        return int(bound.min_value) if bound.min_value == bound.max_value else simple

    def _decided(self, expr: tvm.ir.Expr) -> tvm.ir.Expr:
        """min(2 * n, n) is n, which the analyzer can prove and does not find by itself."""
        if not isinstance(expr, tirx.Min | tirx.Max):
            return expr
        if self.analyzer.can_prove(expr.a <= expr.b):
            return expr.a if isinstance(expr, tirx.Min) else expr.b
        if self.analyzer.can_prove(expr.b <= expr.a):
            return expr.b if isinstance(expr, tirx.Min) else expr.a
        return expr

    def equal(self, a: Entry, b: Entry) -> bool:
        """Whether a == b for all values of the symbols."""
        if a is None or b is None:
            return False
        if isinstance(a, int) and isinstance(b, int):
            return a == b
        if rational.among(a, b):
            return a == b or self._aligned(self.equal, a, b) is True
        x, y = as_expr(a), as_expr(b)
        return tvm_ffi.structural_equal(x, y) or bool(self.analyzer.can_prove_equal(x, y))

    def same(self, a: Entry, b: Entry) -> bool:
        """Like `equal`, and looks case by case where the analyzer finds no proof."""
        if self.equal(a, b):
            return True
        if a is None or b is None or _ints(a, b) or rational.among(a, b):
            return False
        bounds = {**self.bounds_of(as_expr(a)), **self.bounds_of(as_expr(b))}
        return equal_in_all_cases(as_expr(a), as_expr(b), bounds)

    def takes_equal(self, a: Entry, b: Entry) -> bool:
        """Whether two dims that might broadcast are taken to be equal."""
        return self._assuming and self.known_at_entry(a, b)

    def known_at_entry(self, *entries: Entry) -> bool:
        """Whether the inputs' dims determine these."""
        return not any(s in self._run_time for entry in entries for s in symbols_of(entry))

    def differ(self, a: Entry, b: Entry) -> bool:
        """Whether a != b for all values of the symbols."""
        if a is None or b is None:
            return False
        if isinstance(a, int) and isinstance(b, int):
            return a != b
        if rational.among(a, b):
            return self._aligned(self.differ, a, b) is True
        return bool(self.analyzer.can_prove(tirx.NE(as_expr(a), as_expr(b))))

    def add(self, a: Entry, b: Entry) -> Entry:
        if rational.among(a, b):
            return rational.combine(self, self.add, a, b)
        return self._apply(lambda x, y: x + y, a, b)

    def subtract(self, a: Entry, b: Entry) -> Entry:
        if rational.among(a, b):
            return rational.combine(self, self.subtract, a, b)
        return self._apply(lambda x, y: x - y, a, b)

    def multiply(self, a: Entry, b: Entry) -> Entry:
        """A product of two expressions stays a product, so that `floor_divide` can cancel it."""
        if a is None or b is None:
            return None
        if rational.among(a, b):
            return rational.multiply(self, a, b)
        if isinstance(a, int) or isinstance(b, int):
            return self._apply(lambda x, y: x * y, a, b)
        return tirx.Mul(a, b)

    def floor_divide(self, a: Entry, b: Entry) -> Entry:
        """Quotient rounded down; common factors of two products cancel.

        A divisor max(b, 1) counts as b where b cancels: where it is 0 the quotient divides up no
        elements at all. Where it does not, the guard keeps the program from dividing by 0.
        """
        guarded, b = b, without_guard(b)
        if rational.among(a, b):
            return rational.floor(self, rational.divide(self, a, b))
        if a is None or b is None or (isinstance(b, int) and b == 0):
            return None
        if isinstance(a, int) and isinstance(b, int):
            return a // b
        rest_a, rest_b = cancelled(self.equal, a, b)
        if isinstance(rest_b, int) and rest_b == 1:
            return self.simplify(rest_a)
        if guarded is not b and not isinstance(rest_b, int):
            return self._apply(tirx.floordiv, a, guarded)
        return self._apply(tirx.floordiv, rest_a, rest_b)

    def divide(self, a: Entry, b: Entry) -> Entry:
        """The quotient of two floats, None where float32 might round it past a whole number."""
        return rational.divide(self, a, b)

    def trunc_divide(self, a: Entry, b: Entry) -> Entry:
        """Quotient rounded toward zero, ONNX's integer Div."""
        if isinstance(a, int) and isinstance(b, int) and b != 0:
            return int(abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1)
        if self.not_negative(a) and self.not_negative(b):
            return self.floor_divide(a, b)
        return self._apply(tirx.truncdiv, a, b)

    def floor_modulo(self, a: Entry, b: Entry) -> Entry:
        if rational.among(a, b) or (isinstance(b, int) and b == 0):
            return None
        if isinstance(a, int) and isinstance(b, int):
            return a % b
        return self._apply(tirx.floormod, a, b)

    def maximum(self, a: Entry, b: Entry) -> Entry:
        if rational.among(a, b):
            return rational.combine(self, self.maximum, a, b)
        return max(a, b) if _ints(a, b) else self._apply(tirx.max, a, b)

    def minimum(self, a: Entry, b: Entry) -> Entry:
        if rational.among(a, b):
            return rational.combine(self, self.minimum, a, b)
        return min(a, b) if _ints(a, b) else self._apply(tirx.min, a, b)

    def negate(self, a: Entry) -> Entry:
        return self.subtract(0, a)

    def absolute(self, a: Entry) -> Entry:
        if isinstance(a, int):
            return abs(a)
        return a if self.not_negative(a) else self.maximum(a, self.negate(a))

    def not_negative(self, a: Entry) -> bool:
        if a is None:
            return False
        if isinstance(a, Rational):
            return self.not_negative(a.numerator)
        if isinstance(a, int):
            return a >= 0
        return bool(self.analyzer.can_prove(a >= 0))

    def compare(self, relation: Callable[[Any, Any], Any], a: Entry, b: Entry) -> Entry:
        """1 or 0 where the relation is decided for all values of the symbols, else a condition."""
        if a is None or b is None:
            return None
        if rational.among(a, b):
            return self._aligned(lambda p, q: self.compare(relation, p, q), a, b)
        if _ints(a, b):
            return int(relation(a, b))
        x, y = as_expr(a), as_expr(b)
        if self.analyzer.can_prove(relation(x, y)):
            return 1
        if self.analyzer.can_prove(tirx.Not(relation(x, y))):
            return 0
        return relation(x, y)

    def select(self, condition: Entry, a: Entry, b: Entry) -> Entry:
        """a where the condition holds, b where it does not."""
        if isinstance(condition, int):
            return a if condition else b
        if self.equal(a, b):
            return a
        if a is None or b is None or condition is None:
            return None
        if rational.among(a, b):
            return rational.combine(self, lambda p, q: self.select(condition, p, q), a, b)
        if isinstance(condition, tirx.EQ) and isinstance(condition.b, tirx.IntImm):
            there = [
                self.simplify(substitute_part(x, condition.a, int(condition.b))) for x in (a, b)
            ]
            if self.equal(*there):
                return b
        return tirx.Select(condition, as_expr(a), as_expr(b))

    def both(self, a: Entry, b: Entry) -> Entry:
        """Logical and of two conditions."""
        if (isinstance(a, int) and not a) or (isinstance(b, int) and not b):
            return 0
        if isinstance(a, int) or isinstance(b, int):
            return b if isinstance(a, int) else a
        return None if a is None or b is None else tirx.And(a, b)

    def inverse(self, a: Entry) -> Entry:
        """Logical not of a condition."""
        if a is None:
            return None
        return 1 - a if isinstance(a, int) else tirx.Not(a)

    def either(self, a: Entry, b: Entry) -> Entry:
        """Logical or of two conditions."""
        return self.inverse(self.both(self.inverse(a), self.inverse(b)))

    def _aligned(self, function: Callable[[Any, Any], Any], a: Entry, b: Entry) -> Any:
        """A relation of two entries as one of integers: both over the same denominator."""
        aligned = rational.align(self, a, b)
        return None if aligned is None else function(*aligned[:2])

    def _apply(self, operation: Callable[[Any, Any], Any], a: Entry, b: Entry) -> Entry:
        if a is None or b is None:
            return None
        if _ints(a, b):
            return self.simplify(operation(tirx.const(a, "int64"), tirx.const(b, "int64")))
        return self.simplify(operation(as_expr(a), as_expr(b)))


def _ints(a: Entry, b: Entry) -> bool:
    return isinstance(a, int) and isinstance(b, int)
