"""Products of rows with a constant matrix: how they are read, and the loops they all have.

Output rows are all leading dims run through as one; their number is symbolic and may be 0. One
parallel loop runs over (stripe of rows, group of panels, block of rows, panel): a block of rows
stays in the first-level cache while the packed weights of a group, which fit the second-level
cache, stream by. Stripes are for threads to have rows of their own where there are enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tvm
from tvm import tirx

from tvm_sod2.schedules.convolution import kernel_matrix, read_convolution
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, EvenBlocks, Refusal, i64, unravel
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import Output
from tvm_sod2.schedules.panels import Panels, Widths, by_rows, product
from tvm_sod2.schedules.traits import Traits

STRIPE = 16
"""Blocks of rows that a thread has at least before each takes rows of its own times all groups."""


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

    def __init__(
        self, code: Code, group: Group, panels: Panels, packed: Any, traits: Traits
    ) -> None:
        """`packed`: the weights, [panels, ...]."""
        self.code, self.group, self.panels = code, group, panels
        self.together = _together(packed, traits)
        self.lead = list(group.output.shape)[:-1]
        self.linear = group.row_linear()
        self.count = product(self.lead)
        self.blocks = EvenBlocks(code, self.count, panels.shape.rows)
        stripes = tirx.max(tirx.min(self.blocks.count // i64(STRIPE), i64(traits.cores)), i64(1))
        stripe = (self.blocks.divisor + stripes - i64(1)) // stripes
        self.stripe = code.slot(stripe, "stripe")

    def write(self, work: Any, steps: int, sums: Sums) -> None:
        """The loops; `work` is what they cost, `sums` adds up `steps` products.

        `sums` is given the number of rows, the vectors, each row's leading input indices, and the
        panel.
        """
        code, panels, most = self.code, self.panels, self.panels.shape.rows
        count = i64(panels.count)
        with code.tasks(self.blocks.count * count, "t", work) as t, code.bank():
            block, panel = self._locate(t)
            first, rows = self.blocks.locate(block)

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
            # Stores from registers are no more code than stores to the stack.
            bare = self.linear and self.group.result.same_as(self.group.output)
            steps = 0 if bare else steps
            Output(self.group, panels, panel, rows, at, start).write(code, versions, steps)

    def _locate(self, task: Any) -> tuple[Any, Any]:
        """The block of rows and the panel of a task."""
        code, count, most = self.code, i64(self.panels.count), i64(self.together)
        if self.together == self.panels.count:
            return task // count, code.slot(task % count, "panel")
        above = code.slot(task // (self.stripe * count) * self.stripe, "above")
        task = code.slot(task % (self.stripe * count), "in_stripe")
        height = code.slot(tirx.min(self.blocks.count - above, self.stripe), "height")
        left = code.slot(task // (height * most) * most, "left")
        task = code.slot(task % (height * most), "in_group")
        width = code.slot(tirx.min(count - left, most), "width")
        return code.slot(above + task // width, "block"), code.slot(left + task % width, "panel")

    def _zeros(self) -> list[Any]:
        """Zero for all leading dims but the last, which then takes the row number.

        Buffers are dense, so the row number alone is the right offset, also beyond that dim's size.
        """
        return [i64(0)] * (len(self.lead) - 1)


def _together(packed: Any, traits: Traits) -> int:
    """How many panels half of the second-level cache holds, groups as even as can be."""
    count, *panel = map(int, packed.shape)
    panel_bytes = math.prod(panel) * tvm.DataType(str(packed.dtype)).bits // 8
    groups = -(-count // max(1, traits.l2_bytes // 2 // panel_bytes))
    return -(-count // groups)
