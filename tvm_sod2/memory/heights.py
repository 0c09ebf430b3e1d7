"""Maxima of byte counts: how high a stack of tensors is, as an expression over the dims.

A height is the maximum of a few polynomials. A polynomial that another one provably dominates is
dropped. Where too many remain, their maximum gets a name of its own and counts as one symbol from
then on, so that expressions stay short however large the function is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import tvm
from tvm import tirx
from tvm_ffi import structural_map

from tvm_sod2.memory.dominance import Dominance
from tvm_sod2.memory.probes import Probes
from tvm_sod2.memory.sizes import ZERO, Monomial, Poly, SizeAlgebra, add
from tvm_sod2.memory.text import to_python

Height = frozenset[Poly]  # the maximum of its members; empty: 0

GROUND: Height = frozenset()
_MOST_TERMS = 8
_DEEPEST = 2
"""Maxima within maxima that a proof looks into; each has more than `_MOST_TERMS` members."""
_LIKELIEST = 2
"""Members of a maximum that a proof tries: those with the most to spare."""


@dataclass
class Heights:
    """Heights over one function's sizes; `named` are the maxima that became symbols, in order."""

    sizes: SizeAlgebra
    named: dict[tirx.Var, Height] = field(default_factory=dict)
    _names: dict[Height, Poly] = field(default_factory=dict)
    _members: dict[Monomial, Height] = field(default_factory=dict)  # of a name's monomial

    def __post_init__(self) -> None:
        self._dominance = Dominance(self.sizes)
        self._probes = Probes(self.sizes)

    def top(self, base: Height, size: Poly) -> Height:
        """`base` with `size` bytes on it."""
        return frozenset(add(term, size) for term in base or (ZERO,))

    def highest(self, heights: Iterable[Height]) -> Height:
        """The maximum of `heights`."""
        kept: list[Poly] = []
        for term in sorted(set().union(*heights), key=lambda poly: (-len(poly), poly)):
            if term == ZERO or any(self._dominated(term, other) for other in kept):
                continue
            kept = [other for other in kept if not self._dominated(other, term)]
            kept.append(term)
        height = frozenset(kept)
        return height if len(kept) <= _MOST_TERMS else self._name(height)

    def evaluate(self, height: Height, dims: Mapping[str, int]) -> int:
        known = dict(dims)
        for symbol, value in self.named.items():
            known[self.sizes.name(symbol)] = self._highest_value(value, known)
        return self._highest_value(height, known)

    def expr(self, height: Height) -> tvm.ir.Expr:
        """`height` as an int64 TIR expression over dims and named maxima."""
        total: tvm.ir.Expr | None = None
        for poly in sorted(height):
            term = self.sizes.expr(poly)
            total = term if total is None else tirx.max(total, term)
        return tirx.IntImm("int64", 0) if total is None else total

    def length(self, height: Height) -> int:
        """How many terms `closed` has: maxima within maxima multiply."""
        lengths: dict[Monomial, int] = {}
        for symbol, value in self.named.items():
            lengths[self.sizes.atom(symbol)[0][0]] = _terms(value, lengths)
        return _terms(height, lengths)

    def dims(self, height: Height) -> set[tirx.Var]:
        """The dims in `closed`."""
        found: set[tirx.Var] = set()
        for symbol, value in ((None, height), *reversed(self.named.items())):
            if symbol is None or symbol in found:
                found |= set(tirx.analysis.undefined_vars(self.expr(value)))
        return found - self.named.keys()

    def closed(self, height: Height) -> tvm.ir.Expr:
        """`height` as an expression over dims alone."""
        expr = self.expr(height)
        for symbol, value in reversed(self.named.items()):
            inner = self.expr(value)
            expr = structural_map(expr, [(tirx.Var, partial(_replace, symbol, inner))])
        return expr

    def text(self, height: Height) -> str:
        """`height` in Python's syntax over dims.

        ``:=`` defines a named maximum, or a quotient that occurs again, where it first occurs.
        """
        named = {self.sizes.name(symbol): value for symbol, value in self.named.items()}
        written: set[str] = set()

        def define(match: re.Match[str]) -> str:
            name = match[0]
            if name not in named or name in written:
                return name
            written.add(name)
            return f"({name} := {write(named[name])})"

        def write(value: Height) -> str:
            terms = [to_python(self.sizes.expr(poly), self.sizes.names) for poly in sorted(value)]
            terms = [re.sub(r"[A-Za-z_]\w*", define, term) for term in terms]
            if not terms:
                return "0"
            return terms[0] if len(terms) == 1 else f"max({', '.join(terms)})"

        return self._shortened(write(height))

    def _shortened(self, text: str) -> str:
        """`text` with a name for each quotient that occurs more than once."""
        taken = set(self.sizes.names.values())
        fresh = (name for i in count() if (name := f"q{i}") not in taken)
        quotients = [to_python(atom, self.sizes.names) for atom in self.sizes.atoms]
        for quotient in sorted(quotients, key=len, reverse=True):
            pattern = f"({quotient})"
            if " // " in quotient and text.count(pattern) > 1:
                name = next(fresh)
                first, rest = text.split(pattern, 1)
                text = f"{first}({name} := {quotient}){rest.replace(pattern, name)}"
        return text

    def _dominated(self, small: Poly, large: Poly, deep: int = _DEEPEST) -> bool:
        """Whether ``small <= large``, also because a maximum is no less than its members."""
        lead = self._probes.at(large) - self._probes.at(small)
        if lead.min() < 0:
            return False
        if self._dominance.at_most(small, large):
            return True
        if deep == 0:
            return False
        for mono, factor in large:
            members = self._members.get(mono) if factor == 1 else None
            if members is not None:
                rest, most = add(large, ((mono, -1),)), self._probes.at(((mono, 1),))
                leads = {m: (lead - most + self._probes.at(m)).min() for m in members}
                likely = sorted((-least, m) for m, least in leads.items() if least >= 0)
                tried = (add(rest, member) for _, member in likely[:_LIKELIEST])
                return any(self._dominated(small, other, deep - 1) for other in tried)
        return False

    def _highest_value(self, height: Height, dims: Mapping[str, int]) -> int:
        return max((self.sizes.evaluate(term, dims) for term in height), default=0)

    def _name(self, height: Height) -> Height:
        if height not in self._names:
            symbol = tirx.Var(f"height_{len(self.named)}", "int64")
            self.named[symbol] = height
            name = self._names[height] = self.sizes.atom(symbol)
            self._members[name[0][0]] = height
            self._probes.define(name[0][0][0], height)
        return frozenset([self._names[height]])


def _terms(height: Height, lengths: Mapping[Monomial, int]) -> int:
    return sum(lengths.get(mono, 1) for poly in height for mono, _ in poly)


def _replace(symbol: tirx.Var, value: tvm.ir.Expr, var: tirx.Var) -> tvm.ir.Expr:
    return value if var.same_as(symbol) else var
