"""What reading a fused group refuses, with the reason."""

from collections.abc import Callable
from typing import Any

import pytest
import tvm
from kernel_cases import Case, dims, fused, random, tensor
from tvm import relax, tirx

from tvm_sod2.schedules.epilogue import Group, read_group
from tvm_sod2.schedules.kernel import Refusal

op = relax.op


def _read(case: Case) -> Group | Refusal:
    mod = fused({"one": case})
    (func,) = (f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc))
    return read_group(func, frozenset({1}))


def test_bias_and_activation_become_one_expression() -> None:
    (m,) = dims("m")
    group = _read(
        Case(
            lambda x, w, b: op.nn.relu(op.add(op.matmul(x, w), b)),
            [tensor(m, 4)],
            [random(4, 8), random(8)],
        )
    )
    assert isinstance(group, Group)
    assert group.row_linear()
    i, j = (tirx.Var(name, "int64") for name in "ij")
    register = tirx.Var("register", "float32")
    bias = group.func.params[2]
    expected = tirx.max(register + bias[j], tirx.const(0.0, "float32"))
    tvm.ir.assert_structural_equal(group.stored(register, [i, j]), expected, map_free_vars=True)


def test_rows_are_not_linear_under_broadcasting() -> None:
    b, s = dims("b s")
    group = _read(
        Case(
            lambda x, r, w: op.add(op.matmul(x, w), r),
            [tensor(b, s, 4), tensor(s, 8)],
            [random(4, 8)],
        )
    )
    assert isinstance(group, Group)
    assert not group.row_linear()


def test_computation_before_the_anchor_is_refused() -> None:
    (m,) = dims("m")
    read = _read(Case(lambda x, w: op.matmul(op.nn.relu(x), w), [tensor(m, 4)], [random(4, 8)]))
    assert read == Refusal("computation before the anchor")


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    ("moved", "shape"),
    [
        (lambda x: op.permute_dims(x, [1, 0, 2]), (4, 4, 4)),
        (lambda x: op.strided_slice(x, [0], [0], [4]), (5, 4)),
        (lambda x: op.strided_slice(x, [1], [0], [4]), (4, 5)),
        (lambda x: op.strided_slice(x, [1], [1], [5]), (4, 5)),
        (lambda x: op.flip(x, 0), (4, 4)),
    ],
    ids=["batches", "first rows", "first columns", "last columns", "flipped"],
)
def test_operands_that_move_before_the_anchor_are_refused(
    moved: Callable[[Any], Any], shape: tuple[int, ...], side: int
) -> None:
    """First rows and columns are read at the anchor's own index, but of a larger matrix."""

    def product(x: Any, w: Any) -> Any:
        return op.matmul(moved(x), w) if side == 0 else op.matmul(w, moved(x))

    read = _read(Case(product, [tensor(*shape), tensor(4, 4)]))
    assert read == Refusal("elements move before the anchor")


@pytest.mark.parametrize("side", [0, 1])
def test_a_product_reads_transposed_operands(side: int) -> None:
    def product(x: Any, w: Any) -> Any:
        pair = [x, w]
        pair[side] = op.permute_dims(pair[side], [0, 2, 1])
        return op.matmul(*pair)

    read = _read(Case(product, [tensor(3, 4, 4), tensor(3, 4, 4)]))
    assert isinstance(read, Group)
    assert read.turned == (side == 0, side == 1)


def test_transposed_result_is_refused() -> None:
    (m,) = dims("m")
    read = _read(
        Case(lambda x, w: op.permute_dims(op.matmul(x, w)), [tensor(m, 8)], [random(8, 8)])
    )
    assert isinstance(read, Refusal)


def test_reshaped_result_is_refused() -> None:
    (m,) = dims("m")
    read = _read(
        Case(
            lambda x, w: op.nn.relu(op.reshape(op.matmul(x, w), (m, 2, 4))),
            [tensor(m, 4)],
            [random(4, 8)],
        )
    )
    assert isinstance(read, Refusal)


def test_reduction_after_the_anchor_is_refused() -> None:
    (m,) = dims("m")
    read = _read(Case(lambda x, w: op.nn.softmax(op.matmul(x, w)), [tensor(m, 4)], [random(4, 8)]))
    assert isinstance(read, Refusal)


def test_group_without_anchor_is_refused() -> None:
    (m,) = dims("m")
    assert _read(Case(op.nn.relu, [tensor(m, 4)])) == Refusal("no single anchor")


def test_weights_that_the_epilogue_reads_are_not_packable() -> None:
    (group, plain) = (
        _read(Case(compute, [tensor(8, 8)], [random(8, 8)]))
        for compute in (lambda x, w: op.add(op.matmul(x, w), w), lambda x, w: op.matmul(x, w))
    )
    assert isinstance(group, Group) and isinstance(plain, Group)
    assert not group.packable(group.inputs[1])
    assert plain.packable(plain.inputs[1])
