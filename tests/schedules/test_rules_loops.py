"""Loops that cover an extent by vectors: each element once, or again where that is harmless."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from rules_cases import compiled, dims
from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import BufferLoad, BufferStore, PrimFunc, Stmt

from tvm_sod2.schedules.rules.loops import cover, i64, vector

LANES = 4
SIZES = [0, 1, 3, 4, 5, 7, 8, 9, 11, 12, 13, 16, 23, 31]


def counter(extent: Expr, overlap: bool, copies: int) -> PrimFunc:
    """Adds 1 to elements of y; with `overlap`, sets them to 1 more than those of x."""
    x, y = (tirx.decl_buffer((extent,), "int32", name=name) for name in "xy")
    source = x if overlap else y

    def body(base: Expr, width: int) -> Stmt:
        def lane(index: Expr) -> Stmt:
            value = BufferLoad(source, [base + index]) + tirx.const(1, "int32")
            return BufferStore(y, value, [base + index])

        return vector(width, lane)

    func = PrimFunc([x, y], cover(extent, LANES, body, overlap, copies))
    return func.with_attrs({"global_symbol": "main", "tirx.noalias": True})


@pytest.mark.parametrize("copies", [1, 2, 3])
@pytest.mark.parametrize("overlap", [False, True])
def test_every_element_of_a_symbolic_extent(overlap: bool, copies: int) -> None:
    (n,) = dims("n")
    check(counter(n, overlap, copies), SIZES)


@pytest.mark.parametrize("size", [size for size in SIZES if size])
@pytest.mark.parametrize("overlap", [False, True])
def test_every_element_of_a_known_extent(overlap: bool, size: int) -> None:
    check(counter(i64(size), overlap, 2), [size])


def check(func: PrimFunc, sizes: list[int]) -> None:
    run = compiled(func)["main"]
    for size in sizes:
        x = tvm.runtime.tensor(np.arange(size, dtype=np.int32))
        y = tvm.runtime.tensor(np.arange(size, dtype=np.int32))
        run(x, y)
        np.testing.assert_array_equal(y.numpy(), np.arange(size) + 1)
