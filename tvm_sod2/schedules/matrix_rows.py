"""Products of rows with a constant matrix: how they are read, and the loops they all have.

Output rows are all leading dims run through as one; their number is symbolic and may be 0. One
parallel loop runs over (block of rows, panel), panels inside, so that a block of rows stays in the
first-level cache while panels of packed weights stream by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tvm_sod2.schedules.convolution import kernel_matrix, read_convolution
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, EvenBlocks, Refusal, i64, unravel
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import Output
from tvm_sod2.schedules.panels import Panels, Widths, by_rows, product


@dataclass(frozen=True)
class Product:
    """`rows[..., k] @ matrix[k, n]`.

    Attributes:
        matrix: lays the constant operand out as [k, n].
    """

    k: int
    n: int
    matrix: Callable[[np.ndarray], np.ndarray]


def read_matmul(group: Group) -> Product | Refusal:
    """`A[..., K] @ B[K, N]` with constant B."""
    a, b = group.inputs
    *batch, k, n = b.shape
    if any(group.turned):
        return Refusal("an operand is transposed")
    if not group.packable(b):
        return Refusal("the right operand cannot be packed")
    if any(int(d) != 1 for d in batch) or len(a.shape) != len(group.output.shape):
        return Refusal("the right operand has batches")
    return _unless_empty(Product(int(k), int(n), _matrix))


def read_pointwise(group: Group) -> Product | Refusal:
    """1x1 convolution of stride 1 without padding, channels last, constant weights."""
    conv = read_convolution(group)
    if isinstance(conv, Refusal):
        return conv
    if conv.groups != 1:
        return Refusal("grouped")
    if any(window.size != 1 for window in conv.windows):
        return Refusal("not 1x1")
    if any((w.stride, w.before, w.after) != (1, 0, 0) for w in conv.windows):
        return Refusal("1x1, but strided or padded")
    reorder = partial(kernel_matrix, conv.layout)
    return _unless_empty(Product(conv.sizes["I"], conv.sizes["O"], reorder))


def _matrix(weight: np.ndarray) -> np.ndarray:
    return weight.reshape(weight.shape[-2:])


def _unless_empty(found: Product) -> Product | Refusal:
    return Refusal("no output columns") if found.n == 0 else found


# The registers for a number of rows; the arguments are explained at `RowBlocks.write`.
Sums = Callable[[int, Widths, Callable[[int], Sequence[Any]], Any], Registers]


class RowBlocks:
    """The rows of a group's output in blocks, each times every panel."""

    def __init__(self, code: Code, group: Group, panels: Panels) -> None:
        self.code, self.group, self.panels = code, group, panels
        self.lead = list(group.output.shape)[:-1]
        self.linear = group.row_linear()
        self.count = product(self.lead)
        self.blocks = EvenBlocks(code, self.count, panels.shape.rows)

    def write(self, work: Any, steps: int, sums: Sums) -> None:
        """The loops; `work` is what they cost, `sums` adds up `steps` products.

        `sums` is given the number of rows, the vectors, each row's leading input indices, and the
        panel.
        """
        code, panels, most = self.code, self.panels, self.panels.shape.rows
        count = i64(panels.count)
        with code.tasks(self.blocks.count * count, "t", work) as t, code.bank():
            first, rows = self.blocks.locate(t // count)
            panel = code.slot(t % count, "panel")

            def row(r: int) -> Sequence[Any]:
                return *self._zeros(), first + i64(r)

            def versions(vectors: Widths, done: Callable[[Registers], None]) -> None:
                by_rows(code, rows, most, lambda n: done(sums(n, vectors, row, panel)))

            def at(r: Any) -> Sequence[Any]:
                """Leading output indices: the row number where that will do, else taken apart."""
                if self.linear:
                    return *self._zeros(), first + r
                return unravel(code, first + r, self.lead)

            start = panel * i64(panels.shape.columns)
            Output(self.group, panels, panel, rows, at, start).write(code, versions, steps)

    def _zeros(self) -> list[Any]:
        """Zero for all leading dims but the last, which then takes the row number.

        Buffers are dense, so the row number alone is the right offset, also beyond that dim's size.
        """
        return [i64(0)] * (len(self.lead) - 1)
