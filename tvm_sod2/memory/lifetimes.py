"""When each tensor that a function allocates is alive, and which of them may share an arena.

Works on the explicit form after `CallTIRRewrite`: straight-line bindings, and ``If``. Two
variables may be the same memory (views, rebinding, tuples, results of private functions); an
allocation is alive as long as any of them is used. Analysis only, nothing is rewritten.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import tvm
from tvm import relax, tirx

from tvm_sod2.memory.aliases import EXTERN_KEEPS, Aliases, Root, Roots
from tvm_sod2.memory.offsets import Span
from tvm_sod2.memory.symbols import input_symbols

ENTRY = -1  # number of the definition point "when the function is entered"


@dataclass
class Allocation:
    """One ``R.builtin.alloc_tensor``: its variable, what it holds and when it is alive."""

    var: relax.Var
    shape: list[tvm.ir.Expr]
    dtype: tvm.DataType
    position: int  # of the allocating binding
    arms: tuple[tuple[int, bool], ...]
    point: int | None  # the binding that defines the last of its symbols; None: never defined
    first: int | None = None
    last: int | None = None
    kept_because: str | None = None  # why it cannot live in the arena
    name: str = ""  # of the value it holds, which the program knows by another variable

    @property
    def span(self) -> Span:
        """From the first use, the kernel that writes it, to the last."""
        start = self.position if self.first is None else self.first
        return Span(start, max(start, self.last or start), self.arms)


@dataclass
class Lifetimes:
    """All allocations of a function in program order, and where its symbols become known."""

    allocations: list[Allocation] = field(default_factory=list)
    points: dict[int, relax.Var] = field(default_factory=dict)  # position -> variable bound there


def find_lifetimes(func: relax.Function, mod: tvm.IRModule) -> Lifetimes:
    """Lifetimes of `func`; `mod` holds the functions it calls."""
    return _Walk(func, mod).result


class _Walk:
    """One pass over the bindings in program order, each numbered as it is met."""

    def __init__(self, func: relax.Function, mod: tvm.IRModule) -> None:
        self.result = Lifetimes()
        self._aliases = Aliases(func, mod)
        self._by_var: dict[Root, Allocation] = {}
        self._defined = dict.fromkeys(input_symbols(func), ENTRY)
        self._position = 0
        self._arms: tuple[tuple[int, bool], ...] = ()
        roots = self._sequence(func.body)
        for allocation in self._allocations(roots):
            allocation.kept_because = "result"

    def _sequence(self, body: relax.SeqExpr) -> Roots:
        for block in body.blocks:
            for binding in block.bindings:
                self._binding(binding)
        self._position += 1
        roots = self._aliases.of(body.body)
        self._use(roots)
        return roots

    def _binding(self, binding: relax.Binding) -> None:
        position = self._position = self._position + 1
        value = binding.value
        if isinstance(value, relax.If):
            self._use(self._aliases.of(value.cond))
            roots = Roots()
            outer = self._arms
            for arm, branch in ((True, value.true_branch), (False, value.false_branch)):
                self._arms = (*outer, (position, arm))
                roots = roots.union(self._sequence(branch))
            self._arms = outer
            # What an arm returns is alive until the arms meet again.
            self._position += 1
            self._use(roots)
            self._aliases.bind(binding.var, roots)
        else:
            used = self._aliases.used_by(value)
            # Handed memory that nothing has written yet, a function writes its result there, as
            # kernels do (`call_dps_packed`), and keeps nothing.
            writes = any(a.first is None for a in self._allocations(used))
            self._use(used)
            self._aliases.bind_value(binding.var, value)
            if isinstance(value, relax.Var) and value in self._by_var:
                self._by_var[value].name = binding.var.name
            if self._aliases.is_allocation(value):
                self._allocate(binding.var, value, position)
            if not writes and self._aliases.is_foreign(value):
                for allocation in self._allocations(used):
                    allocation.kept_because = EXTERN_KEEPS
        self._define(binding, position)

    def _allocate(self, var: relax.Var, call: relax.Call, position: int) -> None:
        shape = list(call.args[0].values if isinstance(call.args[0], relax.ShapeExpr) else ())
        known = isinstance(call.args[0], relax.ShapeExpr)
        symbols = {symbol for extent in shape for symbol in tirx.analysis.undefined_vars(extent)}
        where = [self._defined.get(symbol) for symbol in symbols]
        point = max((p for p in where if p is not None), default=ENTRY)
        allocation = Allocation(
            var,
            shape,
            tvm.DataType(call.args[1].value),
            position,
            self._arms,
            None if None in where or not known else point,
            name=var.name,
        )
        if allocation.point is None:
            allocation.kept_because = "its dims are not known when it is allocated"
        elif not _on_default_device(call):
            allocation.kept_because = "it lives on another device"
        self._by_var[var] = allocation
        self.result.allocations.append(allocation)

    def _define(self, binding: relax.Binding, position: int) -> None:
        """Note the symbols that a `match_cast` makes known."""
        if not isinstance(binding, relax.MatchCast):
            return
        fresh = [
            symbol
            for symbol in relax.analysis.definable_tir_vars_in_type(binding.ty)
            if symbol not in self._defined
        ]
        if fresh:
            self._defined.update(dict.fromkeys(fresh, position))
            self.result.points[position] = binding.var

    def _use(self, roots: Roots) -> None:
        for allocation in self._allocations(roots):
            if allocation.first is None:
                allocation.first = self._position
            allocation.last = self._position

    def _allocations(self, roots: Roots) -> Iterable[Allocation]:
        return [self._by_var[root] for root in roots.all() if root in self._by_var]


def _on_default_device(call: relax.Call) -> bool:
    return int(call.args[2].value) == 0 and str(call.args[3].value) == "global"
