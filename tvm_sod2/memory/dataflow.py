"""A dataflow block as a graph of steps that need one another and tensors that live between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import tvm
from tvm import relax

from tvm_sod2.memory.aliases import is_view
from tvm_sod2.memory.sizes import ZERO, Poly, SizeAlgebra, add


@dataclass(frozen=True)
class Dataflow:
    """Step i needs the steps `needs[i]` done; it creates tensor i and uses the tensors `uses[i]`.

    A step that allocates nothing creates a tensor of no bytes. Tensors in `kept` outlive the block.
    Results of the function count as no bytes: they have memory of their own in any order.
    """

    needs: tuple[frozenset[int], ...]
    uses: tuple[frozenset[int], ...]
    sizes: tuple[Poly, ...]
    kept: frozenset[int]

    @cached_property
    def needed(self) -> list[int]:
        """`needs` as sets of bits."""
        return [sum(1 << need for need in needs) for needs in self.needs]

    @cached_property
    def users(self) -> list[int]:
        """By tensor, the steps that use it, as a set of bits; for kept ones with a bit more."""
        users = [0] * len(self.uses)
        for step, uses in enumerate(self.uses):
            for tensor in uses:
                users[tensor] |= 1 << step
        for tensor in self.kept:
            users[tensor] |= 1 << len(users)  # a user that never runs
        return users


def dataflow_of(
    block: relax.DataflowBlock,
    later: Sequence[relax.BindingBlock],
    result: relax.Expr,
    algebra: SizeAlgebra,
) -> Dataflow:
    """The graph of `block`; `later` and `result` are what follows it in its function.

    Tensors from before the block are not counted: they are alive in any order.
    """
    producer: dict[relax.Var, int] = {}  # variables and symbols -> the step that defines them
    memory: dict[relax.Var, frozenset[int]] = {}  # variable -> tensors it may alias
    needs, uses, sizes = [], [], []
    for step, binding in enumerate(block.bindings):
        mentioned = set(relax.analysis.free_vars(binding.value))
        symbols = set(relax.analysis.tir_vars_in_type(binding.var.ty))
        if isinstance(binding, relax.MatchCast):
            symbols |= set(relax.analysis.tir_vars_in_type(binding.ty))
        needs.append(frozenset(producer[v] for v in mentioned | symbols if v in producer))
        used = frozenset().union(*(memory.get(v, frozenset()) for v in mentioned))
        uses.append(used)
        fresh = not isinstance(binding, relax.MatchCast) and _allocates(binding.value)
        sizes.append(_bytes(binding.var.ty, algebra) if fresh else ZERO)
        aliased = used if not fresh or _may_return_arguments(binding.value) else frozenset()
        memory[binding.var] = aliased | {step}
        producer[binding.var] = step
        for symbol in symbols:
            # Defined by a `match_cast`, if nothing before it has defined it.
            if isinstance(binding, relax.MatchCast):
                producer.setdefault(symbol, step)
    returned = set(relax.analysis.free_vars(result))
    after: set[relax.Var] = set()
    for following in reversed(later):
        for binding in reversed(following.bindings):
            mentioned = set(relax.analysis.free_vars(binding.value))
            after |= mentioned
            if binding.var in returned and not _allocates(binding.value):
                returned |= mentioned
    results = _tensors(memory, returned)
    for step in results:
        sizes[step] = ZERO
    kept = _tensors(memory, after) | results
    return Dataflow(tuple(needs), tuple(uses), tuple(sizes), kept)


def _tensors(memory: dict[relax.Var, frozenset[int]], variables: Iterable[relax.Var]) -> frozenset:
    return frozenset().union(*(memory.get(var, frozenset()) for var in variables))


def _allocates(value: relax.Expr) -> bool:
    return isinstance(value, relax.Call) and not is_view(value)


def _may_return_arguments(value: relax.Call) -> bool:
    # An object that is no tensor, such as a list, may hold what it was made of.
    return isinstance(value.op, tvm.ir.GlobalVar) or isinstance(value.ty, relax.AnyType)


def _bytes(ty: tvm.ir.Type, algebra: SizeAlgebra) -> Poly:
    if isinstance(ty, relax.TupleType):
        return add(*(_bytes(field, algebra) for field in ty.fields))
    if isinstance(ty, relax.TensorType) and isinstance(ty.shape, relax.ShapeExpr) and ty.dtype:
        return algebra.bytes_of(list(ty.shape.values), tvm.DataType(str(ty.dtype)))
    return ZERO
