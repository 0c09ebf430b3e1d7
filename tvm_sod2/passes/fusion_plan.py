"""Which operators run in one kernel: groups from mapping types, as an analysis.

Source: DNNFusion (PLDI 2021) for the table of mapping types; the groups grow along immediate
post-dominators as in TVM's FuseOps, so that every group has one output and is convex.

A Reorganize operator that moves no data (reshape) is a free view on a CPU and joins no group: the
index arithmetic of a fused reshape by a run-time dim costs more than the pass over memory it saves.
What widens the bytes of an integer product is part of its group: the kernel reads bytes. So is what
widens a constant, and what transposes an operand of a product of two run-time ones. Elementwise
operators before a reduction join it where prologues.py says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import relax

from tvm_sod2.op_classes import Dynamism, Mapping, Row, row
from tvm_sod2.passes.integer_operands import is_product, is_widening
from tvm_sod2.passes.postdominators import EXIT, immediate_post_dominators, nodes_between
from tvm_sod2.passes.prologues import is_prologue
from tvm_sod2.passes.transposed_operands import is_matrix_transpose, is_run_time_product

_ONE, _EXPAND, _MANY = Mapping.ONE_TO_ONE, Mapping.ONE_TO_MANY, Mapping.MANY_TO_MANY
_REORGANIZE, _SHUFFLE = Mapping.REORGANIZE, Mapping.SHUFFLE

# DNNFusion's table, first operator -> second; the "measure" cases that gain nothing here are out.
_MAY_FOLLOW: dict[Mapping, frozenset[Mapping]] = {
    _ONE: frozenset({_ONE, _EXPAND, _REORGANIZE, _SHUFFLE}),
    _EXPAND: frozenset({_ONE}),
    _MANY: frozenset({_ONE}),
    _REORGANIZE: frozenset({_ONE, _REORGANIZE, _SHUFFLE}),
    _SHUFFLE: frozenset({_ONE, _REORGANIZE, _SHUFFLE}),
}


@dataclass
class Group:
    """Operators of one kernel, as indices into the block, in order; the last one is the output.

    why_not: what stopped the group from growing, in words.
    """

    members: list[int]
    anchor: int | None = None
    why_not: str = ""


def plan_groups(block: relax.BindingBlock) -> list[Group]:
    """The groups of one block, each operator that computes a tensor in exactly one of them."""
    return _Planner(block).plan()


def is_view(call: tvm.ir.Expr) -> bool:
    """Whether the call only gives its operand a new shape."""
    return isinstance(call, relax.Call) and _rule(call).mapping is _REORGANIZE


def is_cast(binding: relax.Binding) -> bool:
    """Whether the binding only states dims of a tensor that RDP found equal to its own."""
    if not isinstance(binding, relax.MatchCast) or not isinstance(binding.value, tvm.ir.Var):
        return False
    types = binding.value.ty, binding.ty
    return all(isinstance(ty, relax.TensorType) and ty.shape is not None for ty in types)


class _Planner:
    def __init__(self, block: relax.BindingBlock) -> None:
        self.bindings = list(block.bindings)
        own = _defining(self.bindings)
        self.nodes = {
            i: rule for i, b in enumerate(self.bindings) if i not in own and (rule := _node(b))
        }
        self.same = SameDims(self.bindings)
        self.consumers = _consumers(block)
        self.before = self._before(block)
        self.post = immediate_post_dominators(len(self.bindings), self.consumers)
        for i in (i for inside in self.before.values() for i in inside):
            del self.nodes[i]
        self.groups = {
            i: Group([i], i if rule.mapping is _MANY else None) for i, rule in self.nodes.items()
        }

    def plan(self) -> list[Group]:
        anchors = [i for i, rule in self.nodes.items() if rule.mapping is _MANY]
        for start in [*anchors, *(i for i in self.nodes if i not in set(anchors))]:
            self._grow(start)
        unique = {id(group): group for group in self.groups.values()}
        groups = sorted(unique.values(), key=lambda group: group.members[-1])
        for group in groups:
            while group.members and is_cast(self.bindings[group.members[-1]]):
                group.members.pop()  # Nothing in the group needs the cast: it stays outside.
            before = [i for member in group.members for i in self.before.get(member, ())]
            group.members = sorted([*before, *group.members])
        return [group for group in groups if group.members]

    def _before(self, block: relax.BindingBlock) -> dict[int, list[int]]:
        """By operator, the bindings before it that are part of its kernel and serve nothing else.

        They widen its constant operands, or an integer product's operands, or transpose a float
        product's.
        """
        position = {binding.var: i for i, binding in enumerate(block.bindings)}

        def before(reader: int, joins: Callable[[tvm.ir.Expr], bool]) -> list[int]:
            found: list[int] = []
            for arg in self.bindings[reader].value.args:
                i = position.get(arg, -1) if isinstance(arg, tvm.ir.Var) else -1
                alone = i in self.nodes and self.consumers[i] == [reader] and i not in found
                if alone and joins(self.bindings[i].value):
                    found += [*(before(i, joins) if joins is is_widening else ()), i]
            return found

        found = {}
        for i, binding in enumerate(self.bindings):
            if is_product(binding.value):
                found[i] = before(i, is_widening)
            elif i in self.nodes and is_run_time_product(binding.value):
                found[i] = before(i, is_matrix_transpose)
        products = {i for inside in found.values() for i in inside}
        for i in self.nodes:
            if _is_widened_constant(self.bindings[i].value) and i not in products:
                reader, *others = self.consumers[i]
                if reader in self.nodes and not others:
                    found.setdefault(reader, []).append(i)
        return found

    def _grow(self, start: int) -> None:
        """Merge the group of `start` with what lies between its output and the post-dominator."""
        while True:
            group = self.groups[start]
            output = group.members[-1]
            if is_cast(self.bindings[start]) and len(group.members) == 1:
                return
            if self._moves_indices(output):
                group.why_not = "a reshape is a free view"
                return
            sink = self.post[output]
            if sink == EXIT:
                group.why_not = "its result leaves the block or has no single join"
                return
            between = nodes_between(output, sink, self.consumers)
            group.why_not = self._refusal(group, [*between, sink])
            if group.why_not:
                return
            self._merge(group, [*between, sink])

    def _refusal(self, group: Group, others: list[int]) -> str:
        output = group.members[-1]
        if self._is_prologue(group, others):
            return ""
        for other in others:
            name = self.bindings[other].var.name
            if other not in self.groups:
                return f"{name} is no operator on tensors"
            joined = self.groups[other]
            if any(self.nodes[m].mapping is _MANY for m in joined.members):
                return f"{name} is or has an anchor of its own"
            mapping = self.nodes[other].mapping
            if mapping not in _MAY_FOLLOW[self.nodes[output].mapping]:
                return f"{name} is {mapping.value}"
            if self._moves_indices(other):
                return f"{name} is a reshape, which is a free view"
            if group.anchor is not None and not self.same(*self._types(group.anchor, other)):
                return f"{name} has other dims than the anchor"
        return ""

    def _is_prologue(self, group: Group, others: list[int]) -> bool:
        """Whether the only reader is an anchor that may compute the group as it reads."""
        if group.anchor is not None or len(others) != 1 or others[0] not in self.groups:
            return False
        if self.groups[others[0]].anchor != others[0]:
            return False
        members = [self.bindings[i] for i in group.members]
        return is_prologue(members, self.bindings[others[0]])

    def _moves_indices(self, node: int) -> bool:
        """Whether the node is a reshape; adding or dropping a dim of 1 changes no index."""
        value = self.bindings[node].value
        return is_view(value) and value.op.name not in ("relax.expand_dims", "relax.squeeze")

    def _types(self, a: int, b: int) -> tuple[tvm.ir.Type, tvm.ir.Type]:
        return self.bindings[a].var.ty, self.bindings[b].var.ty

    def _merge(self, group: Group, others: list[int]) -> None:
        members = set(group.members)
        for other in others:
            members |= set(self.groups[other].members)
            group.anchor = group.anchor if group.anchor is not None else self.groups[other].anchor
        group.members = sorted(members)
        for member in members:
            self.groups[member] = group


class SameDims:
    """Equality of dims, with those that the block's casts state to be equal."""

    def __init__(self, bindings: list[relax.Binding]) -> None:
        self._name: dict[tvm_ffi.StructuralKey, tvm_ffi.StructuralKey] = {}
        for binding in filter(is_cast, bindings):
            pairs = zip(binding.value.ty.shape.values, binding.ty.shape.values, strict=True)
            for stated, found in ((self.find(b), self.find(a)) for a, b in pairs):
                if stated != found:
                    self._name[stated] = found

    def __call__(self, a: tvm.ir.Type, b: tvm.ir.Type) -> bool:
        if not isinstance(a, relax.TensorType) or not isinstance(b, relax.TensorType):
            return False
        dims = list(a.shape.values), list(b.shape.values)
        return list(map(self.find, dims[0])) == list(map(self.find, dims[1]))

    def find(self, dim: tvm.ir.Expr) -> tvm_ffi.StructuralKey:
        """The name of the class of equal dims that `dim` is in."""
        key = tvm_ffi.StructuralKey(dim)
        while key in self._name:
            key = self._name[key]
        return key


def _defining(bindings: list[relax.Binding]) -> set[int]:
    """The casts that give a symbol its value: within a group nobody outside could read it."""
    made = {binding.var for binding in bindings}
    seen: set[tvm.ir.Var] = set()
    for binding in bindings:
        for var in relax.analysis.free_vars(binding.value):
            if var not in made:
                seen.update(relax.analysis.tir_vars_in_type(var.ty))
    found = set()
    for i, binding in enumerate(bindings):
        symbols = relax.analysis.tir_vars_in_type(binding.var.ty)
        if is_cast(binding) and not seen.issuperset(symbols):
            found.add(i)
        seen.update(symbols)
    return found


def _node(binding: relax.Binding) -> Row | None:
    """The row of a binding that can be a group's member; a cast moves and computes nothing."""
    if is_cast(binding):
        return Row(Dynamism.ISDOS, _ONE)
    return _rule(binding.value) if _computes_tensor(binding) else None


def _is_widened_constant(value: tvm.ir.Expr) -> bool:
    """Whether the call is one that integer_operands or whole_offsets left for a kernel to read."""
    if not isinstance(value, relax.Call) or getattr(value.op, "name", "") != "relax.astype":
        return False
    return isinstance(value.args[0], tvm.ir.GenericConst)


def _rule(value: tvm.ir.Expr) -> Row:
    return row(value.op.name) if isinstance(value.op, tvm.ir.Op) else Row.unlisted()


def _computes_tensor(binding: relax.Binding) -> bool:
    value = binding.value
    if not isinstance(binding, relax.VarBinding) or not isinstance(value, relax.Call):
        return False
    if not isinstance(value.op, tvm.ir.Op) or value.op.name in _NEVER_OUTLINED:
        return False
    if value.op.get_attr("FLegalize") is None:
        return False
    if any(isinstance(a, tvm.ir.Var) and isinstance(a.ty, relax.ShapeType) for a in value.args):
        return False  # A shape held in a variable has no dims to abstract.
    fields = binding.var.ty.fields if isinstance(binding.var.ty, relax.TupleType) else ()
    tensors = fields or (binding.var.ty,)
    return all(isinstance(t, relax.TensorType) and t.shape is not None for t in tensors)


_NEVER_OUTLINED = frozenset({"relax.shape_to_tensor", "relax.call_tir", "relax.nonzero"})


def _consumers(block: relax.BindingBlock) -> list[list[int]]:
    """Per binding, who reads it; EXIT stands for the world outside the block."""
    position = {binding.var: i for i, binding in enumerate(block.bindings)}
    consumers: list[list[int]] = [[] for _ in block.bindings]
    for i, binding in enumerate(block.bindings):
        for var in relax.analysis.free_vars(binding.value):
            if var in position and i not in consumers[position[var]]:
                consumers[position[var]].append(i)
    local = isinstance(block, relax.DataflowBlock)
    for i, binding in enumerate(block.bindings):
        if not (local and isinstance(binding.var, relax.DataflowVar)) or not consumers[i]:
            consumers[i].append(EXIT)
    return consumers
