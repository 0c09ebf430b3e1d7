"""Rank and Dimension Propagation: a pure analysis of what every shape and small integer value is.

Source: SoD2 (ASPLOS 2024). The lattice element is `op_classes.Fact`, transfer functions stand in
the rows of `op_classes`, and this file is the solver. Where a row has no transfer for dims, Relax's
own inference is asked, on arguments whose types carry the facts found so far.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import tvm
from tvm import relax, tirx

from tvm_sod2.errors import ShapeError
from tvm_sod2.memory.text import to_python
from tvm_sod2.op_classes import Agreement, Arithmetic, Fact, Row, fact_of_type, row
from tvm_sod2.op_classes.expressions import Entry, as_expr, is_arithmetic, selected, symbols_of
from tvm_sod2.op_classes.fact import constant_entries, entries
from tvm_sod2.op_classes.lattice import bounded, lacks_dims, merge, refine, with_entries
from tvm_sod2.op_classes.refusals import refusal
from tvm_sod2.op_classes.symbolic import DIM_LIMIT
from tvm_sod2.passes.bounds import dim_bounds, input_symbols
from tvm_sod2.passes.constraints import Constraints, Knowledge
from tvm_sod2.passes.facts import STAND_IN, CalleeResult, FunctionFacts, simplified, substitute
from tvm_sod2.passes.inference import Inference
from tvm_sod2.passes.names import Names

MAX_SWEEPS = 8
"""More than any model has needed; each sweep but the last makes a symbol known or narrower."""


def propagate(
    func: relax.Function,
    callees: Mapping[tvm.ir.GlobalVar, CalleeResult] | None = None,
    assuming: bool = False,
) -> FunctionFacts:
    """Analyse one Relax function, which is not changed.

    callees: what is known of the results of functions it calls; see `interprocedural`.
    assuming: take dims that broadcast to be equal where nothing else is known and the inputs' dims
    decide it; `FunctionFacts.assumptions` has what was assumed.

    Forward sweeps alternate with solving what they required for single symbols, until nothing new
    is found. Raises ShapeError, naming the operator, where dims contradict each other for every
    input.
    """
    known = Knowledge()
    for _ in range(MAX_SWEEPS):
        sweep = _Sweep(func, known, callees or {}, assuming)
        if not sweep.needs.teach(known, sweep.solvable):
            break
    found = sweep.result
    needs = known.grounds + [c for c in sweep.needs.found if c not in known.grounds]
    found.constraints = [c for c in needs if not c.assumed]
    found.assumptions = [c for c in needs if c.assumed]
    found.undecided = sweep.needs.undecided
    return found


class _Sweep:
    """One forward sweep: bindings stand in topological order and a function has no back edges."""

    def __init__(
        self,
        func: relax.Function,
        known: Knowledge,
        callees: Mapping[tvm.ir.GlobalVar, CalleeResult],
        assuming: bool,
    ) -> None:
        self.callees = callees
        self.result = FunctionFacts()
        self.names = Names(func)
        self.known = known
        run_time = ChainMap(self.result.origins, self.result.nacs)
        self.arithmetic = Arithmetic(run_time, assuming)
        self.needs = Constraints(self.arithmetic, run_time, self.result.nacs)
        self.solvable: dict[tvm.ir.Var, int] = {}  # symbols, in the order of their definition
        self.undef: set[tvm.ir.Var] = set()  # what waits for the result of a recursive call
        self.inference = Inference(self.result, self.names)
        bounds = dim_bounds(func)
        for symbol in input_symbols(func):
            self._know(symbol, *bounds.get(symbol.name, ()))
        for parameter in func.params:
            self._set(parameter, fact_of_type(self._refined(parameter.ty)))
        self.result.returned = self._sequence(func.body)

    def _know(self, symbol: tvm.ir.Var, low: int = 0, high: int = DIM_LIMIT) -> None:
        """Define a symbol with what the user and earlier sweeps know of it."""
        self.solvable[symbol] = len(self.solvable)
        least, most = self.known.bounds.get(symbol, (low, high))
        self.arithmetic.bind(symbol, max(low, least), min(high, most))
        if symbol in self.known.values:
            value = substitute(as_expr(self.known.values[symbol]), self.result.symbols)
            self.result.symbols[symbol] = as_expr(self.arithmetic.simplify(value))

    def _refined(self, ty: tvm.ir.Type) -> tvm.ir.Type:
        return simplified(self.result.substitute(ty), self.arithmetic)

    # Bindings.

    def _sequence(self, body: tvm.ir.Expr) -> Fact | None:
        if not isinstance(body, relax.SeqExpr):
            return self._fact(body)
        for block in body.blocks:
            for binding in block.bindings:
                if isinstance(binding, relax.MatchCast):
                    self._match_cast(binding)
                else:
                    self._set(binding.var, self._bound(binding.var, binding.value))
                    self._name(binding.var)
        return self._fact(body.body)

    def _name(self, var: tvm.ir.Var) -> None:
        """A bound number may be a dim: it stands for what it is bound to."""
        fact = self.result.facts.get(var)
        if fact is not None and fact.known and isinstance(fact.ty, tvm.ir.PrimType):
            self.result.symbols[var] = as_expr(fact.array.flat[0])

    def _bound(self, var: tvm.ir.Var, value: tvm.ir.Expr) -> Fact | None:
        if isinstance(value, relax.If):
            self.needs.arms += 1
            then, otherwise = self._sequence(value.true_branch), self._sequence(value.false_branch)
            self.needs.arms -= 1
            return merge(then, otherwise, self.arithmetic, self._or_nac)
        if isinstance(value, relax.Call) and not is_arithmetic(value):
            return self._call(var, value)
        if isinstance(value, relax.Function):
            return fact_of_type(var.ty)
        return self._fact(value)

    def _match_cast(self, binding: relax.MatchCast) -> None:
        """Unify the pattern's dims with the dims found for the value."""
        known, pattern = self._bound(binding.var, binding.value), fact_of_type(binding.ty)
        if known is None:
            self._set(binding.var, None)
            return
        self._unify(pattern, known, binding)
        refined = fact_of_type(self._refined(binding.ty))
        keeps_entries = isinstance(refined.ty, relax.TensorType) and known.value is not None
        self._set(binding.var, replace(refined, value=known.value) if keeps_entries else refined)

    def _unify(self, pattern: Fact, known: Fact, binding: relax.MatchCast) -> None:
        for inner, outer in zip(pattern.fields, known.fields, strict=False):
            self._unify(inner, outer, binding)
        if pattern.dims is None:
            return
        found: list[Entry] = [None] * len(pattern.dims)
        if isinstance(known.ty, relax.ShapeType) and known.value is not None:
            found = list(known.value.flat)
        elif known.dims is not None:
            found = list(entries(known.dims))
        if len(found) != len(pattern.dims):
            node = self.names.node(binding.var)
            raise ShapeError(f"{node}: rank is {len(found)}, expected {len(pattern.dims)}")
        for axis, (expected, entry) in enumerate(zip(pattern.dims, found, strict=True)):
            if isinstance(expected, tvm.ir.Var) and expected not in self.solvable:
                self._define(expected, self._not_zero(entry, binding), self._producer(binding))
            elif entry is not None and entry not in self.result.nacs:
                wanted = entries([self.result.substitute(expected)])[0]
                if not self.arithmetic.equal(entry, wanted):
                    where = f"{self.names.node(binding.var)}: dim {axis} of {self._source(binding)}"
                    self.needs.equal(entry, wanted, where)

    def _define(self, symbol: tvm.ir.Var, entry: Entry, producer: str) -> None:
        """Bind a fresh symbol to what was found for it, or note who determines it at run time."""
        self._know(symbol)
        entry = bounded(self.arithmetic.simplify(entry))
        if entry is not None and not any(s in self.result.nacs for s in symbols_of(entry)):
            self.result.symbols[symbol] = as_expr(entry)
        elif symbol not in self.known.values:
            self.result.origins[symbol] = producer
        else:
            self.result.forced[symbol] = self.known.reasons.get(symbol, producer)

    def _not_zero(self, entry: Entry, binding: relax.MatchCast) -> Entry:
        """A dim `c if d == 0 else d` is d, and d must not be 0, where the inputs' dims decide it.

        In a Reshape an entry 0 means "copy this dim". Where the entry is a dim that happens to be 0
        the tensor is empty, the copied dim hardly ever fits, and refusing the input says so.
        """
        if not isinstance(entry, tirx.Select) or not isinstance(entry.condition, tirx.EQ):
            return entry
        dim, (tested, zero) = entry.false_value, (entry.condition.a, entry.condition.b)
        is_zero = isinstance(zero, tirx.IntImm) and int(zero) == 0
        if not is_zero or not self.arithmetic.equal(tested, dim):
            return entry
        if self.needs.arms or not self.arithmetic.known_at_entry(entry):
            return entry  # Not to be checked at entry; the choice stays.
        found = f"{self._producer(binding)}: a dim of the new shape is {to_python(dim)}"
        self.needs.not_zero(dim, f"{found}, which must not be 0")
        return dim

    def _source(self, binding: relax.MatchCast) -> str:
        source = binding.value
        return self.names.value(source if isinstance(source, tvm.ir.Var) else binding.var)

    def _producer(self, binding: relax.MatchCast) -> str:
        source = binding.value
        return self.names.node(source if isinstance(source, tvm.ir.Var) else binding.var)

    # Expressions.

    def _fact(self, expr: tvm.ir.Expr) -> Fact | None:
        if isinstance(expr, tvm.ir.Var) and expr in self.undef:
            return None
        if isinstance(expr, tvm.ir.Var) and expr in self.result.facts:
            return self.result.facts[expr]
        if isinstance(expr, relax.Tuple):
            parts = [self._fact(field) for field in expr.fields]
            fields = tuple(part for part in parts if part is not None)
            if len(fields) < len(parts):
                return None
            scalars = all(isinstance(f.ty, tvm.ir.PrimType) and f.known for f in fields)
            if fields and scalars:
                return Fact(expr.ty, entries([f.array.flat[0] for f in fields]), fields)
            return Fact(relax.TupleType([f.ty for f in fields]), fields=fields)
        if isinstance(expr, relax.TupleGetItem):
            source = self._fact(expr.tuple_value)
            if source is None:
                return None
            return source.fields[expr.index] if source.fields else fact_of_type(expr.ty)
        if isinstance(expr, relax.ShapeExpr):
            return fact_of_type(simplified(self.result.substitute(expr.ty), self.arithmetic))
        if isinstance(expr, tvm.ir.GenericConst) and isinstance(expr.ty, relax.TensorType):
            return Fact(expr.ty, constant_entries(expr.value.numpy()))
        if isinstance(expr.ty, tvm.ir.PrimType) and not isinstance(expr, tirx.FloatImm):
            return Fact(expr.ty, entries([selected(self.result.substitute(expr))], ()))
        return fact_of_type(expr.ty)

    def _call(self, var: tvm.ir.Var, call: relax.Call) -> Fact | None:
        found = [self._fact(argument) for argument in call.args]
        facts = [fact for fact in found if fact is not None]
        if len(facts) < len(found):
            return None
        if call.op in self.callees:
            return self.callees[call.op].at(facts, self._or_nac)
        rule = row(call.op.name) if isinstance(call.op, tvm.ir.Op) else Row.unlisted()
        self._agree(var, call, facts, rule)
        typed = self.inference.typed(var, call)
        reason = refusal(rule, typed, facts, self.arithmetic)
        if reason is not None:
            raise ShapeError(f"{self.names.node(var)}: {reason}")
        ty = typed.ty
        if rule.dims is not None and lacks_dims(ty):
            or_nac = partial(self._or_nac, maker=self.names.node(var))
            ty = refine(ty, rule.dims(typed, facts, self.arithmetic), or_nac)
        fact = fact_of_type(simplified(ty, self.arithmetic))
        filled = rule.filled(typed) if rule.filled is not None else []
        for part in fact.fields or (fact,):
            self.needs.large_enough(entries(part.dims or []), filled, self.names.node(var))
        if rule.value is None:
            return fact
        return with_entries(fact, rule.value(typed, facts, self.arithmetic))

    def _agree(self, var: tvm.ir.Var, call: relax.Call, facts: list[Fact], rule: Row) -> None:
        """Take note of the dims that an operator forces to be equal."""
        if rule.agree is None:
            return
        stated: list[Agreement] = []
        for agreement in rule.agree(call, facts, self.arithmetic):
            where = f"dim {agreement.axis} of {self.names.argument(call, agreement.argument)}"
            if agreement.axis < 0:
                where = "number of elements in the new shape"
            where = f"{self.names.node(var)}: {where}"
            if self.needs.broadcast(agreement, where) and agreement.axis >= 0:
                stated.append(agreement)
        self.result.agreements[var] = stated

    # The lattice.

    def _set(self, var: tvm.ir.Var, fact: Fact | None) -> None:
        if fact is None:
            self.undef.add(var)
            return
        self.result.facts[var] = fact

    def _or_nac(self, dim: Entry, maker: str = "control flow") -> Entry:
        if dim is not None:
            return dim
        stand_in = tirx.Var(STAND_IN, "int64")
        self.result.nacs[stand_in] = maker
        self.arithmetic.bind(stand_in)
        return stand_in
