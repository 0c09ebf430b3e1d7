"""Products of one-hot rows as lookups, and what is no such product."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op
from tvm.tirx import Var

import tvm_sod2
from tvm_sod2.passes.one_hot_products import one_hot_products

WEIGHTS = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


def net(
    numbers: np.ndarray, weights: np.ndarray = WEIGHTS, dtype: str = "int32", last: int = 1
) -> tvm.IRModule:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType([Var("n", "int64"), 4, last], dtype))
    with builder.function("main", [x]):
        with builder.dataflow():
            equal = builder.emit(op.equal(relax.const(numbers.astype(dtype)), x))
            rows = builder.emit(op.astype(equal, "float32"))
            found = builder.emit_output(op.matmul(rows, relax.const(weights)))
        builder.emit_func_output(found)
    return builder.get()


def operators(mod: tvm.IRModule) -> list[str]:
    values = [b.value for block in mod["main"].body.blocks for b in block.bindings]
    return [v.op.name.removeprefix("relax.") for v in values if isinstance(v, relax.Call)]


@pytest.mark.parametrize("first", [0, -2])
def test_it_becomes_a_lookup(first: int) -> None:
    rewritten = one_hot_products(net(first + np.arange(5).reshape(1, 1, 5)))
    names = operators(rewritten)
    assert "matmul" not in names and "equal" not in names and names[-1] == "take"
    assert ("subtract" in names) == (first != 0)


INFINITE = np.where(np.arange(15).reshape(5, 3) == 7, np.inf, WEIGHTS).astype(np.float32)


@pytest.mark.parametrize(
    "before",
    [
        net(np.arange(5), INFINITE),
        net(np.array([0, 1, 2, 4, 5])),
        net(np.arange(5), dtype="float32"),
        net(np.arange(5), last=5),
        net(np.arange(20).reshape(4, 5)),
    ],
    ids=["infinite weights", "a gap", "floats", "compared one by one", "numbers of each row"],
)
def test_what_stays(before: tvm.IRModule) -> None:
    tvm.ir.assert_structural_equal(one_hot_products(before), before)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_numbers_that_are_not_among_them_give_zeros(dtype: str) -> None:
    vm = relax.VirtualMachine(tvm_sod2.build(net(1 + np.arange(5), dtype=dtype)), tvm.cpu())
    limits = np.iinfo(dtype)
    x = np.array([[0, 1, 5, 6], [limits.min, limits.max, 3, 2]], dtype)[:, :, None]
    expected = (x == 1 + np.arange(5)).astype(np.float32) @ WEIGHTS
    np.testing.assert_array_equal(vm["main"](tvm.runtime.tensor(x)).numpy(), expected)
