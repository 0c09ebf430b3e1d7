"""The operands of a product known only at run time, as they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import i64
from tvm_sod2.schedules.legalize import broadcast_index


@dataclass(frozen=True)
class Operand:
    """A stack of matrices [..., rows, columns], which lies as [..., columns, rows] if `turned`."""

    buffer: Any
    turned: bool

    @property
    def batch(self) -> list[Any]:
        return list(self.buffer.shape)[:-2]

    def at(self, batch: Sequence[Any], row: Any, column: Any) -> Any:
        """An element, or a vector where the index along memory is one; `batch` is the product's."""
        lead = broadcast_index(self.batch, list(batch))
        return self.buffer[(*lead, column, row) if self.turned else (*lead, row, column)]

    def along(self, batch: Sequence[Any], i: Any) -> Any:
        """Element `i` in the order of memory, of a matrix of one row or one column."""
        return self.buffer[(*broadcast_index(self.batch, list(batch)), i64(0), i)]

    def matrix(self, batch: Sequence[Any]) -> Any:
        """The number of the matrix that a product's batch index means."""
        number: Any = i64(0)
        for dim, index in zip(self.batch, broadcast_index(self.batch, list(batch)), strict=True):
            number = number * dim + index
        return number


@dataclass(frozen=True)
class Product:
    """`a[..., m, k] @ b[..., k, n]` of a group; `crossed` gives the transpose of its result."""

    group: Group
    a: Operand
    b: Operand
    crossed: bool = False

    @staticmethod
    def of(group: Group) -> Product:
        a, b = map(Operand, group.inputs, group.turned)
        return Product(group, a, b)

    def swapped(self) -> Product:
        """The same numbers as the transpose of b's transpose times a's."""
        a, b = (Operand(side.buffer, not side.turned) for side in (self.b, self.a))
        return Product(self.group, a, b, not self.crossed)

    @property
    def batch(self) -> list[Any]:
        return list(self.group.output.shape)[:-2]

    @property
    def m(self) -> Any:
        return self.group.output.shape[-1 if self.crossed else -2]

    @property
    def n(self) -> Any:
        return self.group.output.shape[-2 if self.crossed else -1]

    @property
    def k(self) -> Any:
        return self.a.buffer.shape[-2 if self.a.turned else -1]

    def store_index(self, batch: Sequence[Any], row: Any, column: Any) -> list[Any]:
        """Where an element of the product belongs in the group's output."""
        return [*batch, column, row] if self.crossed else [*batch, row, column]
