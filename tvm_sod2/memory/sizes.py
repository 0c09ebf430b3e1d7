"""Byte counts as polynomials over dims.

A byte count is a polynomial with integer coefficients over *atoms*: symbolic dims, and
sub-expressions such as ``(n + 1) // 2`` that are no polynomial. Two equal counts have equal
polynomials; `tvm_sod2.memory.dominance` compares unequal ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import tvm
from tvm import tirx
from tvm_ffi.structural import StructuralKey

from tvm_sod2.memory.text import compile_size, to_python

ALIGNMENT = 64  # bytes: a cache line, and what TVM's kernels may assume of a buffer's start

MOST_TERMS = 64
"""Of a product that is multiplied out; (a + b + c + d)**4 has more, and its factors are atoms."""

Monomial = tuple[int, ...]  # atom numbers, sorted, repeated for powers
Poly = tuple[tuple[Monomial, int], ...]  # (monomial, coefficient != 0), sorted by monomial

ZERO: Poly = ()


def constant(value: int) -> Poly:
    return (((), value),) if value else ZERO


def as_constant(poly: Poly) -> int | None:
    """The value of a polynomial without atoms, else None."""
    if not poly:
        return 0
    return poly[0][1] if len(poly) == 1 and poly[0][0] == () else None


def add(*polys: Poly) -> Poly:
    total: dict[Monomial, int] = {}
    for poly in polys:
        for monomial, factor in poly:
            total[monomial] = total.get(monomial, 0) + factor
    return _canonical(total)


def scale(poly: Poly, factor: int) -> Poly:
    return _canonical({monomial: value * factor for monomial, value in poly})


def multiply(left: Poly, right: Poly) -> Poly:
    total: dict[Monomial, int] = {}
    for mono_l, factor_l in left:
        for mono_r, factor_r in right:
            monomial = tuple(sorted(mono_l + mono_r))
            total[monomial] = total.get(monomial, 0) + factor_l * factor_r
    return _canonical(total)


def _canonical(terms: Mapping[Monomial, int]) -> Poly:
    return tuple(sorted((mono, factor) for mono, factor in terms.items() if factor))


class SizeAlgebra:
    """Polynomials of one function.

    Parameters
    ----------
    dims : Iterable[tirx.Var]
        Symbols that are the extent of some tensor, hence never negative. The sign of any other
        symbol is unknown, and no bound is derived from it.
    """

    def __init__(self, dims: Iterable[tirx.Var]) -> None:
        self._numbers: dict[StructuralKey, int] = {}
        self.atoms: list[tvm.ir.Expr] = []
        self.never_negative: list[bool] = []
        self.value_of: list[Callable[[Mapping[str, int]], int]] = []
        self.rounded: dict[int, Poly] = {}  # an atom ``ceil(p / ALIGNMENT)`` -> p
        self._analyzer = tvm.sym.Analyzer()
        self._dims = set(dims)
        self.names: dict[tirx.Var, str] = {}  # unique, in the order of appearance
        zero, huge = tirx.IntImm("int64", 0), tirx.IntImm("int64", 1 << 40)
        for dim in self._dims:
            self._analyzer.bind(dim, tvm.ir.Range.from_min_extent(zero, huge))

    def name(self, symbol: tirx.Var) -> str:
        """A name of `symbol` that no other symbol of the function has."""
        if symbol not in self.names:
            taken, name, count = set(self.names.values()), symbol.name, 0
            while name in taken:
                count += 1
                name = f"{symbol.name}_{count}"
            self.names[symbol] = name
        return self.names[symbol]

    def bytes_of(self, shape: Sequence[tvm.ir.Expr], dtype: tvm.DataType) -> Poly:
        """Bytes of a dense tensor, rounded up to `ALIGNMENT`."""
        lanes = dtype.bits * dtype.lanes
        extents = [self.poly(extent) for extent in shape]
        return self.aligned(self._product([constant((lanes + 7) // 8), *extents]))

    def poly(self, expr: tvm.ir.Expr) -> Poly:
        """The polynomial of an integer expression over symbolic dims."""
        if isinstance(expr, int):
            return constant(expr)
        if isinstance(expr, tirx.IntImm):
            return constant(int(expr.value))
        if isinstance(expr, tirx.expr.Add):
            return add(self.poly(expr.a), self.poly(expr.b))
        if isinstance(expr, tirx.expr.Sub):
            return add(self.poly(expr.a), scale(self.poly(expr.b), -1))
        if isinstance(expr, tirx.expr.Mul):
            return self._product([self.poly(expr.a), self.poly(expr.b)])
        if isinstance(expr, tirx.expr.FloorDiv):
            divisor = as_constant(self.poly(expr.b))
            if divisor is not None and divisor > 0:
                outside, _, atom = self._divide(self.poly(expr.a), divisor)
                return outside if atom is None else add(outside, (((atom,), 1),))
        return ((self._atom(expr), 1),)

    def _product(self, factors: Sequence[Poly]) -> Poly:
        if math.prod(map(len, factors)) > MOST_TERMS:
            factors = [
                ((self._atom(self.expr(poly)), 1),) if len(poly) > 1 else poly for poly in factors
            ]
        count = constant(1)
        for factor in factors:
            count = multiply(count, factor)
        return count

    def aligned(self, poly: Poly) -> Poly:
        """`poly` rounded up to a multiple of `ALIGNMENT`."""
        if all(factor % ALIGNMENT == 0 for _, factor in poly):
            return poly
        outside, rest, atom = self._divide(add(poly, constant(ALIGNMENT - 1)), ALIGNMENT)
        if atom is not None:
            self.rounded[atom] = add(rest, constant(1 - ALIGNMENT))
            outside = add(outside, (((atom,), 1),))
        return scale(outside, ALIGNMENT)

    def expr(self, poly: Poly) -> tvm.ir.Expr:
        """`poly` as an int64 TIR expression, common factors of a single term kept as written."""
        total: tvm.ir.Expr | None = None
        for mono, factor in reversed(poly):
            term: tvm.ir.Expr | None = None
            for atom in mono:
                term = self.atoms[atom] if term is None else term * self.atoms[atom]
            literal = tirx.IntImm("int64", factor)
            if term is None:
                term = literal
            elif factor != 1:
                term = term * literal
            total = term if total is None else total + term
        return tirx.IntImm("int64", 0) if total is None else total

    def evaluate(self, poly: Poly, dims: Mapping[str, int]) -> int:
        """The value of `poly` where the symbol called `name` is ``dims[name]``."""
        total = 0
        for mono, factor in poly:
            for atom in mono:
                factor *= self.value_of[atom](dims)
            total += factor
        return total

    def atom(self, symbol: tirx.Var) -> Poly:
        """`symbol`, which is known to be never negative, as a polynomial."""
        self._dims.add(symbol)
        return ((self._atom(symbol), 1),)

    def _divide(self, dividend: Poly, divisor: int) -> tuple[Poly, Poly, int | None]:
        """``dividend // divisor`` as a polynomial, what stays in a division, and its atom.

        Multiples of the divisor leave the division, so (n - 1)//2 + 1 becomes (n + 1)//2.
        """
        outside = _canonical({mono: factor // divisor for mono, factor in dividend})
        rest = _canonical({mono: factor % divisor for mono, factor in dividend})
        if as_constant(rest) is not None:
            return outside, rest, None
        quotient = tirx.floordiv(self.expr(rest), tirx.IntImm("int64", divisor))
        return outside, rest, self._atom(quotient)[0]

    def _atom(self, expr: tvm.ir.Expr) -> Monomial:
        key = StructuralKey(expr)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.atoms)
            self.atoms.append(expr)
            if isinstance(expr, tirx.Var):
                known = expr in self._dims
            else:
                known = self._analyzer.const_int_bound(expr).min_value >= 0
            self.never_negative.append(known)
            for symbol in tirx.analysis.undefined_vars(expr):
                self.name(symbol)
            self.value_of.append(compile_size(to_python(expr, self.names)))
        return (number,)
