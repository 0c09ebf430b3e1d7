"""Index arithmetic as polynomials with integer coefficients over symbolic dims and loop variables.

TVM's simplifier neither cancels a reshape's chain of divisions nor is cheap on symbolic sizes. Here
an index is a sum of monomials; `a % d` is written `a - d * (a // d)`, nested divisions are merged,
and a division whose remainder provably stays in `[0, d)` is carried out. So the flat offset of a
reshaped load becomes the affine offset it is. Dims are taken to be non-negative, divisors positive:
where one is zero the iteration domain is empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import IntImm, Var

__all__ = ["Polynomial", "Polynomials", "constant", "occurs", "put"]

Monomial = tuple[int, ...]


class Polynomial:
    """An immutable sum of monomials; a monomial is a sorted tuple of atom numbers."""

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms: dict[Monomial, int] = {m: c for m, c in terms.items() if c}

    def __add__(self, other: Polynomial) -> Polynomial:
        terms = dict(self.terms)
        for monomial, coefficient in other.terms.items():
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return Polynomial(terms)

    def __sub__(self, other: Polynomial) -> Polynomial:
        return self + other * constant(-1)

    def __mul__(self, other: Polynomial) -> Polynomial:
        terms: dict[Monomial, int] = {}
        for m1, c1 in self.terms.items():
            for m2, c2 in other.terms.items():
                monomial = tuple(sorted(m1 + m2))
                terms[monomial] = terms.get(monomial, 0) + c1 * c2
        return Polynomial(terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Polynomial) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    @property
    def value(self) -> int | None:
        """The integer this is, or None."""
        if not self.terms:
            return 0
        return self.terms.get(()) if len(self.terms) == 1 else None

    @property
    def nonnegative(self) -> bool:
        """Whether every coefficient is, so that the value is for all non-negative atoms."""
        return all(c >= 0 for c in self.terms.values())


def constant(value: int) -> Polynomial:
    """The polynomial that is an integer."""
    return Polynomial({(): value})


class Polynomials:
    """Converts between TIR expressions and polynomials, and owns the numbering of atoms.

    `ranges` gives the extents of variables known to lie in `[0, extent)`.
    """

    def __init__(self) -> None:
        self._atoms: list[Expr] = []
        self._by_hash: dict[int, list[int]] = {}
        self._variables: list[frozenset[int]] = []
        self._ranges: dict[int, Polynomial] = {}
        self._quotients: dict[int, tuple[Polynomial, Polynomial]] = {}

    def set_range(self, var: Var, extent: Expr | int) -> None:
        """Record that `var` lies in `[0, extent)`."""
        self._ranges[self._atom(var)] = self.of(extent)

    def of(self, expr: Expr | int) -> Polynomial:
        """The polynomial of an integer expression; what is not polynomial becomes an atom."""
        if isinstance(expr, int):
            return constant(expr)
        if isinstance(expr, IntImm):
            return constant(int(expr.value))
        if isinstance(expr, tirx.Add):
            return self.of(expr.a) + self.of(expr.b)
        if isinstance(expr, tirx.Sub):
            return self.of(expr.a) - self.of(expr.b)
        if isinstance(expr, tirx.Mul):
            return self.of(expr.a) * self.of(expr.b)
        if isinstance(expr, tirx.FloorDiv):
            return self._divide(self.of(expr.a), self.of(expr.b), expr)
        if isinstance(expr, tirx.FloorMod):
            numerator, divisor = self.of(expr.a), self.of(expr.b)
            return numerator - divisor * self._divide(numerator, divisor, expr.a // expr.b)
        return Polynomial({(self._atom(expr),): 1})

    def offset(self, indices: Sequence[Expr], shape: Sequence[Expr]) -> Polynomial:
        """Row-major offset of `indices` in a compact buffer of `shape`, in elements."""
        result = constant(0)
        for index, dim in zip(indices, shape, strict=True):
            result = result * self.of(dim) + self.of(index)
        return result

    def expr(self, polynomial: Polynomial) -> Expr:
        """An int64 expression of a polynomial, constants last."""
        result: Expr | None = None
        for monomial, coefficient in sorted(
            polynomial.terms.items(), key=lambda item: (item[0] == (), item[1] < 0)
        ):
            if not monomial:
                term: Expr = IntImm("int64", abs(coefficient))
            else:
                term = self._atoms[monomial[0]]
                for atom in monomial[1:]:
                    term = tirx.Mul(term, self._atoms[atom])
                if abs(coefficient) != 1:
                    term = tirx.Mul(term, IntImm("int64", abs(coefficient)))
            if result is None:
                result = term if coefficient > 0 else tirx.Mul(term, IntImm("int64", -1))
            else:
                result = (tirx.Add if coefficient > 0 else tirx.Sub)(result, term)
        return IntImm("int64", 0) if result is None else result

    def coefficient(self, polynomial: Polynomial, var: Var) -> Polynomial | None:
        """The factor of `var`, or None where the polynomial is not linear in it."""
        number = self._atom(var)
        identity = hash(var)
        terms: dict[Monomial, int] = {}
        for monomial, factor in polynomial.terms.items():
            count = monomial.count(number)
            if count > 1 or any(identity in self._variables[a] for a in monomial if a != number):
                return None
            if count:
                rest = list(monomial)
                rest.remove(number)
                terms[tuple(rest)] = factor
        return Polynomial(terms)

    def uses(self, polynomial: Polynomial, variables: Iterable[Var]) -> bool:
        """Whether any of `variables` occurs, also inside atoms."""
        wanted = {hash(v) for v in variables}
        return any(self._variables[a] & wanted for m in polynomial.terms for a in m)

    def at_most(self, low: Polynomial, high: Polynomial) -> bool:
        """Whether low <= high is certain for all non-negative dims."""
        return (high - low).nonnegative

    def _atom(self, expr: Expr) -> int:
        key = hash(expr) if isinstance(expr, Var) else tvm_ffi.structural_hash(expr)
        for number in self._by_hash.setdefault(key, []):
            known = self._atoms[number]
            if known.same_as(expr) or (
                not isinstance(expr, Var) and tvm_ffi.structural_equal(known, expr)
            ):
                return number
        found: set[int] = set()
        tvm_ffi.structural_walk(expr, [(Var, lambda v: _note(found, v))])
        self._atoms.append(expr)
        self._variables.append(frozenset(found))
        self._by_hash[key].append(len(self._atoms) - 1)
        return len(self._atoms) - 1

    def _divide(self, numerator: Polynomial, divisor: Polynomial, expr: Expr) -> Polynomial:
        if len(divisor.terms) != 1:
            return self._quotient(numerator, divisor)
        ((monomial, factor),) = divisor.terms.items()
        if factor < 0:
            return Polynomial({(self._atom(expr),): 1})
        whole: dict[Monomial, int] = {}
        rest: dict[Monomial, int] = {}
        for term, coefficient in numerator.terms.items():
            left = _without(term, monomial)
            if left is None:
                rest[term] = coefficient
                continue
            quotient, remainder = divmod(coefficient, factor)
            whole[left] = quotient
            if remainder:
                rest[term] = remainder
        remainder_poly = Polynomial(rest)
        if self._within(remainder_poly, divisor):
            return Polynomial(whole)
        return Polynomial(whole) + self._quotient(remainder_poly, divisor)

    def _quotient(self, numerator: Polynomial, divisor: Polynomial) -> Polynomial:
        """An opaque quotient; (a // b) // c becomes a // (b * c)."""
        if len(numerator.terms) == 1:
            ((monomial, factor),) = numerator.terms.items()
            if len(monomial) == 1 and factor == 1 and monomial[0] in self._quotients:
                inner, by = self._quotients[monomial[0]]
                merged = by * divisor
                if self._within(inner, merged):
                    return constant(0)
                return self._quotient(inner, merged)
        expr = tirx.FloorDiv(self.expr(numerator), self.expr(divisor))
        number = self._atom(expr)
        self._quotients[number] = (numerator, divisor)
        return Polynomial({(number,): 1})

    def _within(self, polynomial: Polynomial, bound: Polynomial) -> bool:
        """Whether the polynomial provably lies in [0, bound)."""
        if not polynomial.nonnegative:
            return False
        largest = constant(1)
        for monomial, coefficient in polynomial.terms.items():
            term = constant(coefficient)
            for atom in monomial:
                extent = self._ranges.get(atom)
                if extent is None and self._variables[atom] & self._loop_variables():
                    return False
                one = Polynomial({(atom,): 1})
                term = term * (one if extent is None else extent - constant(1))
            largest = largest + term
        return self.at_most(largest, bound)

    def _loop_variables(self) -> frozenset[int]:
        return frozenset(hash(self._atoms[a]) for a in self._ranges)


def put(expr: Expr, values: Mapping[int, Expr]) -> Expr:
    """`expr` with variables replaced; `values` is by the variable's hash."""
    return tvm_ffi.structural_map(expr, [(Var, lambda v: values.get(hash(v), v))])


def occurs(node: object, variables: Iterable[Var]) -> bool:
    """Whether any of `variables` occurs in an expression or statement."""
    wanted = {hash(v) for v in variables}
    found: set[int] = set()
    tvm_ffi.structural_walk(node, [(Var, lambda v: _note(found, v))])
    return bool(found & wanted)


def _note(found: set[int], var: Var) -> None:
    found.add(hash(var))


def _without(term: Monomial, factor: Monomial) -> Monomial | None:
    left = list(term)
    for atom in factor:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)
