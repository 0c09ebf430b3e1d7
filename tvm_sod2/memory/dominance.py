"""Proofs that one byte count is never more than another.

``a <= b`` holds for all dims, which are never negative, if every coefficient of ``b - a`` is at
least zero. Where one is negative, its monomial is covered by a larger one that ``b`` has to spare:

- ``(h + 1)//2 <= 16 * ((h + 31)//32)``: both sides grow by a constant per period, so the least
  factor that holds on one period, and is no less than the ratio of the slopes, holds everywhere;
- a product is covered factor by factor;
- ``ceil(c*m/64) <= ceil(c/64) * m`` for a rounded monomial, and ``64 * ceil(p/64) >= p``.

Weaker than a solver, quick, and enough for the sizes of tensors in convolutional networks.
"""

from __future__ import annotations

from fractions import Fraction

from tvm import tirx

from tvm_sod2.memory.sizes import ALIGNMENT, Monomial, Poly, SizeAlgebra, add, scale

_LONGEST_PERIOD = 4096


class Dominance:
    """Proofs over one function's sizes; what has been found out about atoms is kept."""

    def __init__(self, sizes: SizeAlgebra) -> None:
        self._sizes = sizes
        self._factors: dict[tuple[int, int], Fraction | None] = {}

    def at_most(self, left: Poly, right: Poly) -> bool:
        """Whether ``left <= right`` is proven for all dims. False means: not proven."""
        difference = add(right, scale(left, -1))
        missing = self._upper([(m, -f) for m, f in difference if f < 0])
        spare = self._lower([(m, f) for m, f in difference if f > 0])
        for mono, need in missing.items():
            if not self._never_negative(mono):
                return False
            # The tightest covers first: they leave the most for other monomials.
            covers = [
                (factor, other)
                for other in spare
                if (factor := self._cover(mono, other)) is not None
            ]
            for factor, other in sorted(covers):
                used = min(spare[other], need * factor)
                spare[other] -= used
                need -= used / factor
            if need > 0:
                return False
        return all(left == 0 or self._never_negative(mono) for mono, left in spare.items())

    def _never_negative(self, mono: Monomial) -> bool:
        return all(self._sizes.never_negative[atom] for atom in mono)

    def _upper(self, terms: list[tuple[Monomial, int]]) -> dict[Monomial, Fraction]:
        """At least the sum of `terms`, without rounded atoms of single monomials."""
        total: dict[Monomial, Fraction] = {}
        for mono, factor in terms:
            inner = self._sizes.rounded.get(mono[0]) if len(mono) == 1 else None
            if inner is not None and all(value > 0 for _, value in inner):
                for part, value in inner:
                    lines = -(-value // ALIGNMENT)
                    total[part] = total.get(part, Fraction()) + factor * lines
            else:
                total[mono] = total.get(mono, Fraction()) + factor
        return total

    def _lower(self, terms: list[tuple[Monomial, int]]) -> dict[Monomial, Fraction]:
        """At most the sum of `terms`, without rounded atoms."""
        total: dict[Monomial, Fraction] = {}
        for mono, factor in terms:
            inner = self._sizes.rounded.get(mono[0]) if len(mono) == 1 else None
            if inner is not None and all(value > 0 for _, value in inner):
                for part, value in inner:
                    whole = Fraction(factor * value, ALIGNMENT)
                    total[part] = total.get(part, Fraction()) + whole
            else:
                total[mono] = total.get(mono, Fraction()) + factor
        return total

    def _cover(self, small: Monomial, large: Monomial) -> Fraction | None:
        """The least known k such that ``small <= k * large``; None: none is known."""
        if len(small) != len(large):
            return None
        factor, free = Fraction(1), list(large)
        for atom in small:
            known = [(k, other) for other in free if (k := self._factor(atom, other)) is not None]
            if not known:
                return None
            k, other = min(known)
            factor *= k
            free.remove(other)
        return factor

    def _factor(self, small: int, large: int) -> Fraction | None:
        if small == large:
            return Fraction(1)
        key = (small, large)
        if key not in self._factors:
            self._factors[key] = self._ratio(small, large)
        return self._factors[key]

    def _ratio(self, small: int, large: int) -> Fraction | None:
        """The least k with ``small <= k * large`` for two atoms that grow with one same dim."""
        one, two = (_period(self._sizes.atoms[atom]) for atom in (small, large))
        name = self._symbol(small)
        if one is None or two is None or name is None or name != self._symbol(large):
            return None
        period = one * two
        if period > _LONGEST_PERIOD:
            return None
        low = [self._sizes.value_of[small]({name: d}) for d in range(period + 1)]
        high = [self._sizes.value_of[large]({name: d}) for d in range(period + 1)]
        rise, run = low[period] - low[0], high[period] - high[0]
        if run <= 0 or min(*low, *high) < 0:
            return None
        if any(a > 0 == b for a, b in zip(low, high, strict=True)):
            return None
        ratios = [Fraction(a, b) for a, b in zip(low, high, strict=True) if b > 0]
        return max([Fraction(rise, run), *ratios])

    def _symbol(self, atom: int) -> str | None:
        found = tirx.analysis.undefined_vars(self._sizes.atoms[atom])
        return self._sizes.name(found[0]) if len(found) == 1 else None


def _period(expr: object) -> int | None:
    """p such that ``expr(d + p) - expr(d)`` is the same for all d; None: not of that form."""
    if isinstance(expr, (tirx.Var, tirx.IntImm)):
        return 1
    if isinstance(expr, (tirx.expr.Add, tirx.expr.Sub)):
        one, two = _period(expr.a), _period(expr.b)
        return None if one is None or two is None else one * two
    if isinstance(expr, (tirx.expr.Mul, tirx.expr.FloorDiv)) and isinstance(expr.b, tirx.IntImm):
        inner = _period(expr.a)
        if inner is None or isinstance(expr, tirx.expr.Mul):
            return inner
        return inner * int(expr.b.value) if expr.b.value > 0 else None
    return None
