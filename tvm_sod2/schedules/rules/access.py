"""Buffers as flat memory: every load becomes a load at a polynomial offset of a 1-D view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr, TensorLoad
from tvm.tirx import BufferLoad, PrimFunc, Var
from tvm.tirx.buffer import is_buffer_var

from tvm_sod2.schedules.rules.loops import product
from tvm_sod2.schedules.rules.polynomial import Polynomial, Polynomials, occurs, put
from tvm_sod2.schedules.rules.program import Axis, loads
from tvm_sod2.schedules.traits import Traits

__all__ = [
    "Memory",
    "Nest",
    "collapse",
    "collapse_shared",
    "offsets",
    "rename",
    "stride",
    "used_outside_loads",
]


@dataclass
class _View:
    """A flat buffer, the extents and the axes it is indexed with, and where the last one starts."""

    flat: Var
    shape: list[Expr]
    axes: list[int]
    origin: Expr | None = None


@dataclass
class Memory:
    """Where buffers lie: for each a flat view, and the part of its indices that addresses it."""

    traits: Traits
    polynomials: Polynomials = field(default_factory=Polynomials)
    views: dict[int, _View] = field(default_factory=dict)
    declared: list[tirx.Stmt] = field(default_factory=list)

    def declare_parameters(self, func: PrimFunc) -> None:
        """Give each buffer among a function's parameters a flat view; scalars stay as they are."""
        for param in func.params:
            if is_buffer_var(param):
                self.declare(param)

    def declare(self, buffer: Var) -> None:
        """Give a parameter or allocated buffer a flat view."""
        shape = list(buffer.ty.shape)
        flat = tirx.decl_buffer((product(shape),), buffer.ty.dtype, name=f"{buffer.name}_flat")
        self.declared.append(tirx.DeclBuffer(flat, data=buffer.data))
        self.views[hash(buffer)] = _View(flat, shape, list(range(len(shape))))

    def place(self, buffer: Var, flat: Var, shape: list[Expr], axes: list[int]) -> None:
        """Let `buffer` live in `flat`, of whose axes only `axes` are kept, with extents `shape`."""
        self.views[hash(buffer)] = _View(flat, shape, axes)

    def place_tile(self, buffer: Var, origin: Expr) -> None:
        """Let the last index of a placed buffer count from `origin`."""
        self.views[hash(buffer)].origin = origin

    def alias(self, buffer: Var, other: Var) -> None:
        """Let `buffer` live where `other` (of the same shape and type) does."""
        self.views[hash(buffer)] = self.views[hash(other)]

    def view(self, buffer: Var) -> Var:
        """The flat view of a buffer."""
        return self.views[hash(buffer)].flat

    def offset(self, buffer: Var, indices: Sequence[Expr]) -> Polynomial:
        """Offset in the flat view, in elements."""
        view = self.views[hash(buffer)]
        used = [indices[axis] for axis in view.axes]
        if view.origin is not None:
            used[-1] = used[-1] - view.origin
        return self.polynomials.offset(used, view.shape)

    def flatten(self, value: Expr) -> Expr:
        """`value` with every load through the flat views."""

        def visit(load: TensorLoad) -> Expr:
            if hash(load.source) not in self.views:
                return load
            offset = self.polynomials.expr(self.offset(load.source, load.indices))
            return BufferLoad(self.view(load.source), [offset])

        return tvm_ffi.structural_map(value, [(TensorLoad, visit)])

    def tidy(self, index: Expr) -> Expr:
        """An index in polynomial form."""
        return self.polynomials.expr(self.polynomials.of(index))

    def normalise(self, value: Expr) -> Expr:
        """`value` with the offsets of flat loads brought to polynomial form again."""

        def visit(load: TensorLoad) -> Expr:
            return BufferLoad(load.source, [self.tidy(i) for i in load.indices])

        return tvm_ffi.structural_map(value, [(TensorLoad, visit)])


@dataclass(frozen=True)
class Nest:
    """A flat stage: loops, and what is stored or combined at which offset of which flat buffer."""

    target: Var
    offset: Expr
    value: Expr
    axes: tuple[Axis, ...]
    reduced: tuple[Axis, ...] = ()
    epilogue: tuple[Var, Expr] | None = None
    kept: tuple[Var, Expr, Expr] | None = None

    @property
    def values(self) -> list[Expr]:
        """All expressions the nest evaluates, offsets not counted."""
        more = [] if self.epilogue is None else [self.epilogue[1]]
        return [self.value, *more, *([] if self.kept is None else [self.kept[2]])]

    @property
    def in_place(self) -> bool:
        """Whether the value reads the buffer that is written."""
        return any(load.source.same_as(self.target) for load in loads(self.value))


def rename(memory: Memory, nest: Nest, mapping: dict[int, Expr], **changes: object) -> Nest:
    """A nest with loop variables replaced."""
    fields: dict[str, object] = {
        "offset": memory.tidy(put(nest.offset, mapping)),
        "value": memory.normalise(put(nest.value, mapping)),
        "axes": nest.axes,
        "reduced": nest.reduced,
        "epilogue": nest.epilogue,
    }
    if nest.epilogue is not None:
        stored = memory.normalise(put(nest.epilogue[1], mapping))
        fields["epilogue"] = (nest.epilogue[0], stored)
    fields["kept"] = nest.kept
    if nest.kept is not None:
        fields["kept"] = (
            nest.kept[0],
            memory.tidy(put(nest.kept[1], mapping)),
            memory.normalise(put(nest.kept[2], mapping)),
        )
    fields.update(changes)
    return Nest(nest.target, **fields)  # type: ignore[arg-type]


def offsets(nest: Nest) -> list[Expr]:
    """The offsets of all accesses, the store's first."""
    kept = [] if nest.kept is None else [nest.kept[1]]
    return [nest.offset, *kept, *(load.indices[0] for v in nest.values for load in loads(v))]


def collapse(memory: Memory, nest: Nest, reduced: bool = False) -> Nest:
    """Join neighbouring axes that every access walks as one.

    Before: ``for i, j: y[i*m + j] = x[i*m + j]``. After: ``for f in range(n*m): y[f] = x[f]``.
    """
    return _collapse(memory, [nest], "reduced" if reduced else "axes", 0)[0]


def collapse_shared(memory: Memory, nests: list[Nest]) -> list[Nest]:
    """Join axes that several nests share, all but the last of each, where it is right in all."""
    return _collapse(memory, nests, "axes", 1)


def _collapse(memory: Memory, nests: list[Nest], loops: str, own: int) -> list[Nest]:
    """`own` is the number of innermost axes that are each nest's own."""

    def change(shared: list[Axis], mapping: dict[int, Expr]) -> None:
        for i, nest in enumerate(nests):
            axes = getattr(nest, loops)
            mine = axes[len(axes) - own :] if own else ()
            nests[i] = rename(memory, nest, mapping, **{loops: (*shared, *mine)})

    nests = list(nests)
    axes = getattr(nests[0], loops)
    axes = list(axes[: len(axes) - own])
    # A run of one step is no loop.
    ones = {hash(a.var): tirx.IntImm("int64", 0) for a in axes if _is_one(a.extent)}
    axes = [a for a in axes if not _is_one(a.extent)]
    if ones:
        change(axes, ones)
    for position in range(len(axes) - 1, 0, -1):
        outer, inner = axes[position - 1], axes[position]
        if all(_joins(memory, nest, outer, inner) for nest in nests):
            var = Var(f"{outer.var.name}_{inner.var.name}"[:24], "int64")
            extent = product([outer.extent, inner.extent])
            memory.polynomials.set_range(var, extent)
            axes[position - 1 : position + 1] = [Axis(var, extent)]
            zero = tirx.IntImm("int64", 0)
            change(axes, {hash(outer.var): zero, hash(inner.var): var})
    return nests


def _joins(memory: Memory, nest: Nest, outer: Axis, inner: Axis) -> bool:
    if any(used_outside_loads(v, [outer.var, inner.var]) for v in nest.values):
        return False
    polynomials = memory.polynomials
    extent = polynomials.of(inner.extent)
    for expr in offsets(nest):
        offset = polynomials.of(expr)
        a = polynomials.coefficient(offset, outer.var)
        b = polynomials.coefficient(offset, inner.var)
        if a is None or b is None or a != b * extent:
            return False
    return True


def used_outside_loads(value: Expr, variables: list[Var]) -> bool:
    """Whether loop variables are used as values, not only in offsets."""
    zero = tvm_ffi.structural_map(value, [(TensorLoad, lambda load: tirx.const(0, load.ty.dtype))])
    return occurs(zero, variables)


def stride(memory: Memory, offset: Expr, var: Var) -> int | Polynomial | None:
    """How far one step of `var` moves an access: an integer, a polynomial, or None if irregular."""
    found = memory.polynomials.coefficient(memory.polynomials.of(offset), var)
    if found is None:
        return None
    value = found.value
    return found if value is None else value


def _is_one(extent: Expr) -> bool:
    return isinstance(extent, tirx.IntImm) and int(extent.value) == 1
