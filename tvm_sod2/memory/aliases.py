"""Which variables of a Relax function may be the same memory.

A *root* is where memory comes from: an allocation, a parameter, a constant, or a call whose
result is somebody else's. Every variable maps to the roots it may alias, field by field for
tuples. Whatever is not listed in the tables below is assumed to return its arguments and to keep
them, which is safe for any operator.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import tvm
from tvm import relax, tirx

Root: TypeAlias = relax.Var

EXTERN_KEEPS = "an external function may keep it"

_ALLOCATIONS = frozenset({"relax.builtin.alloc_tensor"})
# Operators whose result is a view of their first argument.
_VIEWS = frozenset(
    {"relax.reshape", "relax.memory.view", "relax.memory.ensure_zero_offset", "relax.match_cast"}
)
_VIEW_FUNCTIONS = frozenset({"vm.builtin.reshape", "vm.builtin.ensure_zero_offset"})
# Operators whose result is no tensor, or a tensor of its own.
_FRESH = frozenset(
    {
        "relax.shape_of",
        "relax.tensor_to_shape",
        "relax.shape_to_tensor",
        "relax.size",
        "relax.null_value",
        "relax.memory.alloc_storage",
        "relax.memory.kill_tensor",
        "relax.memory.kill_storage",
        "relax.vm.kill_object",
    }
)


@dataclass(frozen=True)
class Roots:
    """What an expression may alias: itself, and the fields if it is a tuple known by field."""

    own: frozenset[Root] = frozenset()
    fields: tuple[Roots, ...] | None = None

    def all(self) -> frozenset[Root]:
        if self.fields is None:
            return self.own
        return self.own.union(*(field.all() for field in self.fields))

    def union(self, other: Roots) -> Roots:
        if (
            self.fields is not None
            and other.fields is not None
            and len(self.fields) == len(other.fields)
        ):
            pairs = zip(self.fields, other.fields, strict=True)
            return Roots(self.own | other.own, tuple(a.union(b) for a, b in pairs))
        return Roots(self.all() | other.all())


class Aliases:
    """The map from variables to roots, filled as the bindings are visited in order."""

    def __init__(
        self,
        func: relax.Function,
        mod: tvm.IRModule,
        active: frozenset[tvm.ir.GlobalVar] = frozenset(),
    ) -> None:
        self._mod = mod
        self._active = active  # functions being summarised: a cycle is assumed to return all
        self._summaries: dict[tvm.ir.GlobalVar, frozenset[int] | None] = {}
        self._roots: dict[relax.Var, Roots] = {p: Roots(frozenset([p])) for p in func.params}

    def bind(self, var: relax.Var, roots: Roots) -> None:
        self._roots[var] = roots

    def bind_value(self, var: relax.Var, value: relax.Expr) -> None:
        """Bind `var` to what `value`, anything but an ``If``, may alias."""
        if self.is_allocation(value):
            self._roots[var] = Roots(frozenset([var]))
        else:
            self._roots[var] = self.of(value)

    def of(self, expr: relax.Expr) -> Roots:
        """Roots of the value of `expr`."""
        if isinstance(expr, relax.Var):
            return self._roots.get(expr, Roots())
        if isinstance(expr, relax.Tuple):
            return Roots(fields=tuple(self.of(field) for field in expr.fields))
        if isinstance(expr, relax.TupleGetItem):
            whole = self.of(expr.tuple_value)
            return whole if whole.fields is None else whole.fields[expr.index]
        if isinstance(expr, relax.Call):
            return self._of_call(expr)
        return Roots()

    def used_by(self, expr: relax.Expr) -> Roots:
        """Roots of every variable that `expr` mentions."""
        if isinstance(expr, relax.TupleGetItem):
            return self.of(expr)
        free = relax.analysis.free_vars(expr)
        return Roots(frozenset().union(*(self.of(var).all() for var in free)))

    @staticmethod
    def is_allocation(value: relax.Expr) -> bool:
        return _operator(value) in _ALLOCATIONS

    def is_foreign(self, value: relax.Expr) -> bool:
        """Whether `value` hands tensors to code that may keep them beyond the call."""
        if not isinstance(value, relax.Call):
            return False
        # What goes into a list that is handed over too is kept, even where nothing is returned.
        fills = any(isinstance(arg.ty, relax.AnyType) for arg in value.args)
        if isinstance(value.op, tvm.ir.GlobalVar):
            callee = self._mod.functions.get(value.op)
            return fills and isinstance(callee, relax.Function) and not callee.is_pure
        if isinstance(value.op, relax.ExternFunc):
            name = str(value.op.global_symbol)
            return name not in _VIEW_FUNCTIONS and (fills or not _is_void(value.ty))
        return _operator(value) not in _ALLOCATIONS | _VIEWS | _FRESH

    def _of_call(self, call: relax.Call) -> Roots:
        name = _operator(call)
        if name in _FRESH or _is_void(call.ty) or isinstance(call.ty, tvm.ir.PrimType):
            return Roots()
        if is_view(call):
            return Roots(self.of(call.args[0]).all())
        returned: Iterable[relax.Expr] = call.args
        if isinstance(call.op, tvm.ir.GlobalVar):
            which = self._returned_params(call.op)
            if which is not None:
                returned = [call.args[i] for i in sorted(which)]
        return Roots(frozenset().union(*(self.of(arg).all() for arg in returned)))

    def _returned_params(self, gvar: tvm.ir.GlobalVar) -> frozenset[int] | None:
        """Numbers of the parameters that a function's result may alias; None: unknown."""
        if gvar not in self._summaries:
            self._summaries[gvar] = self._summarise(gvar)
        return self._summaries[gvar]

    def _summarise(self, gvar: tvm.ir.GlobalVar) -> frozenset[int] | None:
        func = self._mod.functions.get(gvar)
        if isinstance(func, tirx.PrimFunc):
            return frozenset()
        if gvar in self._active or not isinstance(func, relax.Function):
            return None
        inner = Aliases(func, self._mod, self._active | {gvar})
        roots = inner._run(func.body).all()
        return frozenset(i for i, param in enumerate(func.params) if param in roots)

    def _run(self, body: relax.SeqExpr) -> Roots:
        for block in body.blocks:
            for binding in block.bindings:
                if isinstance(binding.value, relax.If):
                    arms = binding.value
                    roots = self._run(arms.true_branch).union(self._run(arms.false_branch))
                    self.bind(binding.var, roots)
                else:
                    self.bind_value(binding.var, binding.value)
        return self.of(body.body)


def is_view(call: relax.Call) -> bool:
    """Whether the result of `call` is its first argument's memory."""
    if isinstance(call.op, relax.ExternFunc):
        return str(call.op.global_symbol) in _VIEW_FUNCTIONS
    return _operator(call) in _VIEWS


def is_fresh(call: relax.Call) -> bool:
    """Whether the result of `call` is none of its arguments' memory, and nothing keeps them."""
    return _operator(call) in _FRESH


def _operator(value: relax.Expr) -> str | None:
    if isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.Op):
        return str(value.op.name)
    return None


def _is_void(ty: tvm.ir.Type | None) -> bool:
    # A kernel called for its effect has no type at all.
    return ty is None or (isinstance(ty, relax.TupleType) and len(ty.fields) == 0)
