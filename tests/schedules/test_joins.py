"""Kernels that only join or split tensors are told from others that look like them."""

from __future__ import annotations

import pytest
import tvm
from tvm import te, tirx

from tvm_sod2.schedules.joins import JOIN, SPLIT, joins

N, M = (tirx.Var(name, "int64") for name in "nm")


def kernel(inputs, outputs) -> tirx.PrimFunc:
    return te.create_prim_func([*inputs, *outputs])


def operand(name: str, *shape) -> te.Tensor:
    return te.placeholder(shape, "float32", name)


def joined(axis: int, *shapes) -> tirx.PrimFunc:
    parts = [operand(f"x{i}", *shape) for i, shape in enumerate(shapes)]
    return kernel(parts, [tvm.topi.concatenate(parts, axis)])


@pytest.mark.parametrize(
    "axis, shapes",
    [
        (0, [(N, 16), (M, 16)]),
        (1, [(N, 3), (N, 5), (N, 7)]),
        (1, [(1, N, 16), (1, 4, 16), (1, M, 16)]),
        (0, [(1,), (1,)]),
    ],
)
def test_concat(axis: int, shapes) -> None:
    assert joins(joined(axis, *shapes)) == {JOIN: axis}


def test_split() -> None:
    x = operand("x", 1, N, 16)
    assert joins(kernel([x], list(tvm.topi.split(x, [4, 9], 1)))) == {SPLIT: 1}


def test_of_the_same_operand_twice() -> None:
    x = operand("x", N, 16)
    assert joins(kernel([x], [tvm.topi.concatenate([x, x], 0)])) == {}


def test_operands_in_another_order() -> None:
    x, y = operand("x", N, 16), operand("y", N, 16)
    assert joins(kernel([y, x], [tvm.topi.concatenate([x, y], 0)])) == {}


def test_with_arithmetic() -> None:
    x, y = operand("x", N, 16), operand("y", M, 16)
    assert joins(kernel([x, y], [tvm.topi.exp(tvm.topi.concatenate([x, y], 0))])) == {}
    z = operand("z", N, 16)
    assert joins(kernel([x, z], [tvm.topi.add(x, z)])) == {}


def test_pieces_with_a_rest() -> None:
    x = operand("x", N, 16)
    first, second, _ = tvm.topi.split(x, [4, 9], 0)
    assert joins(kernel([x], [first, second])) == {}


def test_a_choice_by_value() -> None:
    """Half of one, half of the other, neither shifted."""
    x, y = operand("x", 8, 16), operand("y", 8, 16)
    mixed = te.compute((8, 16), lambda i, j: tirx.if_then_else(i >= 4, y[i, j], x[i, j]))
    assert joins(kernel([x, y], [mixed])) == {}
