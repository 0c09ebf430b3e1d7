"""Sequences and optionals: what the importer knows of them.

A sequence is known item by item, and then costs nothing, or is an ``ffi.List`` that only the run
knows. An optional is decided at import, or is at run time its content or None. Relax has one type
for all of it, ``R.Any``, so what the tensors inside have in common is kept here.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import onnx
from tvm import relax, tirx
from tvm.relax import Expr

from tvm_sod2 import signature
from tvm_sod2.frontend.dims import expr, fixed, is_same
from tvm_sod2.frontend.dtypes import relax_dtype

Dim = Any  # int, tvm IntImm or a tirx expression

MOST_ITEMS = 64
"""A sequence of at most so many tensors is known one by one; the code grows with each."""


@dataclass(frozen=True, eq=False)
class Element:
    """What the tensors of a sequence, or the one in an optional, have in common.

    dims: of each axis, None where it differs; None where not even the rank is common.
    absent: there is no tensor yet, so that one of any shape may come.
    """

    dtype: str
    dims: tuple[Dim | None, ...] | None = None
    absent: bool = False

    def join(self, other: Element) -> Element:
        """What both have in common. Raises ValueError where the dtypes differ."""
        if self.dtype != other.dtype:
            raise ValueError(f"tensors of {self.dtype} and of {other.dtype} cannot be in one place")
        if self.absent or other.absent:
            return other if self.absent else self
        if self.dims is None or other.dims is None or len(self.dims) != len(other.dims):
            return Element(self.dtype)
        pairs = zip(self.dims, other.dims, strict=True)
        return Element(self.dtype, tuple(a if _same(a, b) else None for a, b in pairs))

    @property
    def summary(self) -> tuple[Any, ...]:
        """Equal for what joining with more values has not changed."""
        return self.absent, None if self.dims is None else [dim is None for dim in self.dims]

    def within(self, symbols: set[tirx.Var]) -> Element:
        """The same, without the dims that other symbols than these decide."""
        if self.dims is None:
            return self
        dims = (d if d is not None and _symbols_of(d) <= symbols else None for d in self.dims)
        return replace(self, dims=tuple(dims))


@dataclass(frozen=True, eq=False)
class Sequence:
    """A sequence of tensors: its ``items`` where they are known one by one, or the ``whole``.

    grows: nobody reads it but the operator that appends to it, which may change it.
    """

    element: Element
    items: tuple[Expr, ...] | None = None
    whole: Expr | None = None
    grows: bool = False

    @staticmethod
    def of(items: Several[Expr], dtype: str = "float32") -> Sequence:
        """The sequence of these tensors; dtype: of one that holds none."""
        element = Element(dtype if not items else str(items[0].ty.dtype), absent=True)
        for item in items:
            element = element.join(element_of(item))
        return Sequence(element, tuple(items))

    def join(self, other: Object) -> Object:
        """What is known of a value that is the one or the other."""
        if isinstance(other, Optional):
            return other.join(self)
        return Sequence(self.element.join(other.element))

    @property
    def summary(self) -> tuple[Any, ...]:
        """Equal for what joining with more values has not changed."""
        return self.element.summary

    def within(self, symbols: set[tirx.Var]) -> Sequence:
        """The same, without the dims that other symbols than these decide."""
        return Sequence(self.element.within(symbols))

    def held_by(self, whole: Expr) -> Sequence:
        """The same, as this variable."""
        return Sequence(self.element, None, whole)


@dataclass(frozen=True, eq=False)
class Optional:
    """A tensor or a sequence, as ``kind`` says, that need not be there.

    present: None where only the run can tell. whole: the variable that is it, or None.
    content: what is in it, where that is known.
    """

    kind: Element | Sequence
    present: bool | None
    whole: Expr | None = None
    content: Expr | Sequence | None = None

    def join(self, other: Object) -> Optional:
        """What is known of a value that is the one or the other."""
        if isinstance(other, Sequence):
            other = Optional(Sequence(other.element), True)
        if isinstance(self.kind, Element) != isinstance(other.kind, Element):
            raise ValueError("a tensor and a sequence cannot be in one place")
        present = self.present if self.present is other.present else None
        kind: Any = self.kind.join(other.kind)  # type: ignore[arg-type]
        return Optional(kind, present)

    @property
    def summary(self) -> tuple[Any, ...]:
        """Equal for what joining with more values has not changed."""
        return self.present, self.kind.summary

    def within(self, symbols: set[tirx.Var]) -> Optional:
        """The same, without the dims that other symbols than these decide."""
        return Optional(self.kind.within(symbols), self.present)

    def held_by(self, whole: Expr) -> Optional:
        """The same, as this variable."""
        return Optional(self.kind, self.present, whole)


Object: TypeAlias = Sequence | Optional
Value: TypeAlias = "Expr | Sequence | Optional"


def as_object(value: Value) -> Object:
    """A value that stands where another path gives a sequence or an optional."""
    return Optional(element_of(value), True) if isinstance(value, Expr) else value


def element_of(tensor: Expr) -> Element:
    """What one tensor says of the sequence it is in."""
    dims = tensor.ty.shape.values if isinstance(tensor.ty.shape, relax.ShapeExpr) else None
    return Element(str(tensor.ty.dtype), None if dims is None else tuple(map(fixed, dims)))


def _same(a: Dim | None, b: Dim | None) -> bool:
    return a is not None and b is not None and is_same(a, b)


def _symbols_of(dim: Dim) -> set[tirx.Var]:
    return set(tirx.analysis.undefined_vars(expr(dim)))


def described(name: str, value: Object) -> signature.Value:
    """How the signature of a model tells of it; dims that differ or only the run knows are "?"."""
    content = value.kind if isinstance(value, Optional) else value
    element = content.element if isinstance(content, Sequence) else content
    kind = signature.SEQUENCE if isinstance(content, Sequence) else signature.OPTIONAL
    if isinstance(value, Optional) and isinstance(content, Sequence):
        kind = signature.OPTIONAL_SEQUENCE
    dims: tuple[int | str, ...] | None = None
    if element.dims is not None:
        dims = tuple(dim if isinstance(dim, int) else "?" for dim in element.dims)
    return signature.Value(name, element.dtype, dims, kind)


def declared(given: onnx.TypeProto) -> Element | Sequence | Optional:
    """What an ONNX type says. Raises ValueError, naming it, for one that cannot be imported.

    Names of dims are not kept: in a sequence they do not stand for one size.
    """
    kind = given.WhichOneof("value")
    if kind == "tensor_type":
        try:
            dtype = relax_dtype(given.tensor_type.elem_type)
        except ValueError as error:
            raise ValueError(f"a tensor of {error}") from None
        if not given.tensor_type.HasField("shape"):
            return Element(dtype)
        dims = given.tensor_type.shape.dim
        return Element(dtype, tuple(d.dim_value if d.HasField("dim_value") else None for d in dims))
    if kind == "sequence_type":
        element = declared(given.sequence_type.elem_type)
        if isinstance(element, Element):
            return Sequence(element)
    if kind == "optional_type":
        content = declared(given.optional_type.elem_type)
        if not isinstance(content, Optional):
            return Optional(content, None)
    raise ValueError(f"of type {kind}, which cannot be imported here")
