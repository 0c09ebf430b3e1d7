"""The lattice element RDP keeps for each value: its type (S-map) and its entries (V-map).

Source: SoD2's RDP. A dim or an entry is an integer, an expression over symbols, or None for nac
("not a constant"): nothing is known about it before the program runs. An entry of a float tensor
may also be a Rational.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from tvm_sod2.op_classes import rational

MAX_ENTRIES = 64
"""Integer tensors of at most this many entries have their values tracked."""


@dataclass(frozen=True)
class Fact:
    """What is known of one value.

    ty: its Relax type; dims live there. value: the entries of a small tensor of numbers or truth
    values, or of a shape, as an object array of int | PrimExpr | Rational | None; None when the
    entries are not tracked.
    fields: the facts of a tuple's fields.
    """

    ty: tvm.ir.Type
    value: np.ndarray | None = None
    fields: tuple[Fact, ...] = ()

    @property
    def dims(self) -> list[tvm.ir.Expr] | None:
        """The dims of a tensor or shape, or None where Relax knows the rank at most."""
        if isinstance(self.ty, relax.ShapeType):
            return None if self.ty.values is None else list(self.ty.values)
        if not isinstance(self.ty, relax.TensorType) or self.ty.shape is None:
            return None
        shape = self.ty.shape
        if isinstance(shape, relax.ShapeExpr):
            return list(shape.values)
        return list(shape.ty.values) if shape.ty.values is not None else None

    @property
    def array(self) -> np.ndarray:
        """The entries of a value that is known to be tracked."""
        assert self.value is not None
        return self.value

    @property
    def known(self) -> bool:
        """Whether every entry is tracked."""
        return self.value is not None and all(e is not None for e in self.value.flat)


def fact_of_type(ty: tvm.ir.Type) -> Fact:
    """The fact that a type alone states."""
    if isinstance(ty, relax.TupleType):
        return Fact(ty, fields=tuple(fact_of_type(field) for field in ty.fields))
    if isinstance(ty, relax.ShapeType) and ty.values is not None:
        return Fact(ty, entries(list(ty.values)))
    return Fact(ty)


def entries(items: list, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """An object array of entries, constants as Python ints; row-major when `shape` is given."""
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        array[i] = int(item) if isinstance(item, tvm.tirx.IntImm) else item
    return array if shape is None else array.reshape(shape)


def tracks(dtype: str, count: int) -> bool:
    """Whether RDP tracks the entries of a tensor of this dtype and size.

    Floats are tracked where they hold whole numbers or fractions of them, as exporters compute
    sizes in them; in 16 bits and less they could not hold a dim above 2048.
    """
    return count <= MAX_ENTRIES and dtype.startswith(("int", "uint", "bool", "float32", "float64"))


def constant_entries(data: np.ndarray) -> np.ndarray | None:
    """The entries of a constant: ints, Rationals, None for floats that are neither."""
    if not tracks(str(data.dtype), data.size):
        return None
    if data.dtype.kind == "f":
        return entries([rational.from_float(float(x)) for x in data.flat], data.shape)
    return entries([int(x) for x in data.flat], data.shape)
