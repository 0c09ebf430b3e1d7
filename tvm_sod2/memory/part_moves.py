"""Which concats and splits of a function need not move any data. Analysis only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import tvm
from tvm import relax, tirx

from tvm_sod2.memory.aliases import Aliases, Roots, is_fresh, is_view
from tvm_sod2.memory.sizes import ALIGNMENT, Poly, SizeAlgebra, add, constant, multiply
from tvm_sod2.memory.symbols import input_symbols
from tvm_sod2.schedules.joins import JOIN, SPLIT

OVERWRITES = "sod2.overwrites"
"""Function attribute of kernels that are called by `call_tir_inplace`."""


@dataclass(frozen=True)
class Move:
    """A kernel call that views make superfluous.

    Attributes:
        call: the variable that the call binds.
        joins: whether it puts parts together; otherwise it takes the whole apart.
        whole: what is allocated for the result of a concat; the operand of a split.
        parts: the variables of the parts' allocations.
        offsets: where each begins, in bytes.
    """

    call: relax.Var
    joins: bool
    whole: relax.Var
    parts: tuple[relax.Var, ...]
    offsets: tuple[tvm.ir.Expr, ...]


@tvm.transform.module_pass(opt_level=0, name="NoteOverwrites")
def note_overwrites(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Mark the kernels that `call_tir_inplace` calls, since the explicit form does not tell."""
    found: set[tvm.ir.GlobalVar] = set()

    def visit(expr: tvm.ir.Expr) -> None:
        if isinstance(expr, relax.Call) and _name(expr) == "relax.call_tir_inplace":
            found.add(expr.args[0])

    for func in mod.functions.values():
        if isinstance(func, relax.Function):
            relax.analysis.post_order_visit(func, visit)
    functions = {
        gvar: func.with_attr(OVERWRITES, True) if gvar in found else func
        for gvar, func in mod.functions_items()
    }
    return tvm.IRModule(functions, attrs=mod.attrs, global_infos=mod.global_infos)


def find_moves(func: relax.Function, mod: tvm.IRModule, algebra: SizeAlgebra) -> list[Move]:
    """The calls of `func` that views can stand for, in program order.

    Each holds whether or not those before it are made views.
    """
    walk = _Walk(func, mod)
    moves: list[Move] = []
    parts: set[relax.Var] = set()
    for site in walk.sites:
        move = walk.move(site, algebra)
        if move is not None and not parts.intersection(move.parts):
            parts.update(move.parts)
            moves.append(move)
            if move.joins:
                walk.allocate_early(move)
    return moves


@dataclass(frozen=True)
class _Site:
    """A call of a kernel that joins or splits, and the roots of its operands at that point."""

    var: relax.Var
    call: relax.Call
    joins: bool
    axis: int
    roots: tuple[frozenset[relax.Var], ...]
    sequence: int


class _Walk:
    """One pass over the bindings: who touches what, and where symbols become known."""

    def __init__(self, func: relax.Function, mod: tvm.IRModule) -> None:
        self.sites: list[_Site] = []
        self._mod = mod
        self._aliases = Aliases(func, mod)
        self._known = set(input_symbols(func))
        self._allocated: dict[relax.Var, tuple[int, frozenset[tirx.Var]]] = {}
        self._handed: set[relax.Var] = set()  # to what may keep it or write over it
        self._returned: set[relax.Var] = set()
        self._sequences = 0
        self._run(func.body)

    def _run(self, body: relax.SeqExpr) -> Roots:
        self._sequences += 1
        number = self._sequences
        for block in body.blocks:
            for binding in block.bindings:
                self._binding(binding, number)
        roots = self._aliases.of(body.body)
        self._returned |= roots.all()
        return roots

    def _binding(self, binding: relax.Binding, sequence: int) -> None:
        var, value = binding.var, binding.value
        if isinstance(value, relax.If):
            arms = self._run(value.true_branch).union(self._run(value.false_branch))
            self._aliases.bind(var, arms)
            return
        if self._aliases.is_allocation(value):
            self._allocated[var] = sequence, frozenset(self._known)
        elif isinstance(value, relax.Call):
            self._call(var, value, sequence)
        self._aliases.bind_value(var, value)
        if isinstance(binding, relax.MatchCast):
            self._known.update(relax.analysis.definable_tir_vars_in_type(binding.ty))

    def _call(self, var: relax.Var, call: relax.Call, sequence: int) -> None:
        kernel = self._mod.functions.get(call.op) if isinstance(call.op, tvm.ir.GlobalVar) else None
        attrs = (kernel.attrs or {}) if isinstance(kernel, tirx.PrimFunc) else None
        if attrs is None:
            if not is_view(call) and not is_fresh(call):
                self._handed |= self._aliases.used_by(call).all()
        elif OVERWRITES in attrs:
            self._handed |= self._aliases.used_by(call).all()
        elif JOIN in attrs or SPLIT in attrs:
            joins = JOIN in attrs
            roots = tuple(self._aliases.of(arg).all() for arg in call.args)
            axis = int(attrs[JOIN if joins else SPLIT])
            self.sites.append(_Site(var, call, joins, axis, roots, sequence))

    def move(self, site: _Site, algebra: SizeAlgebra) -> Move | None:
        """What views would stand for, or None where the call has to copy."""
        args = list(site.call.args)
        if not all(isinstance(arg, relax.Var) for arg in args):
            return None
        whole, parts = (args[-1], args[:-1]) if site.joins else (args[0], args[1:])
        whole_roots = site.roots[-1 if site.joins else 0]
        part_roots = site.roots[:-1] if site.joins else site.roots[1:]
        outer = list(whole.ty.shape.values)[: site.axis]
        if not all(isinstance(dim, tirx.IntImm) and dim.value == 1 for dim in outer):
            return None
        if not whole_roots or whole_roots & self._handed or not self._own(site, part_roots):
            return None
        offsets = _offsets(parts, algebra)
        if offsets is None:
            return None
        roots = [next(iter(found)) for found in part_roots]
        if any(_bytes(r, algebra) != _bytes(p, algebra) for r, p in zip(roots, parts, strict=True)):
            return None
        if site.joins:
            if whole not in self._allocated or self._allocated[whole][0] != site.sequence:
                return None
            if not self._known_at_first(roots).issuperset(_symbols([whole, *parts])):
                return None
        return Move(site.var, site.joins, whole, tuple(roots), offsets)

    def allocate_early(self, move: Move) -> None:
        """Note that the whole is allocated with the first of its parts."""
        sequence, _ = self._allocated[move.whole]
        self._allocated[move.whole] = sequence, self._known_at_first(move.parts)

    def _known_at_first(self, parts: Sequence[relax.Var]) -> frozenset[tirx.Var]:
        """The symbols known where the first of the parts is allocated."""
        return frozenset.intersection(*(self._allocated[part][1] for part in parts))

    def _own(self, site: _Site, found: Sequence[frozenset[relax.Var]]) -> bool:
        """Whether each part is an allocation that nobody else keeps, returns or writes over."""
        counts = Counter(root for roots in found for root in roots)
        return all(
            len(roots) == 1
            and counts[root] == 1
            and root not in self._handed
            and root not in self._returned
            and root in self._allocated
            and self._allocated[root][0] == site.sequence
            for roots in found
            for root in roots
        ) and all(found)


def _offsets(parts: Sequence[relax.Var], algebra: SizeAlgebra) -> tuple[tvm.ir.Expr, ...] | None:
    """Where each part begins, or None where that may be no multiple of `ALIGNMENT`."""
    offsets, total = [], constant(0)
    for part in parts:
        if any(factor % ALIGNMENT for _, factor in total):
            return None
        offsets.append(algebra.expr(total))
        total = add(total, _bytes(part, algebra))
    return tuple(offsets)


def _bytes(var: relax.Var, algebra: SizeAlgebra) -> Poly:
    """Bytes of a dense tensor as they are, not rounded."""
    dtype = tvm.DataType(str(var.ty.dtype))
    total = constant((dtype.bits * dtype.lanes + 7) // 8)
    for extent in var.ty.shape.values:
        total = multiply(total, algebra.poly(extent))
    return total


def _symbols(variables: Sequence[relax.Var]) -> Iterator[tirx.Var]:
    for var in variables:
        yield from relax.analysis.tir_vars_in_type(var.ty)


def _name(call: relax.Call) -> str:
    return str(call.op.name) if isinstance(call.op, tvm.ir.Op) else ""
