"""Conditional dims that Relax infers: Selects in types, known to RDP, equal to a range's length."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.relax import op as R

import tvm_sod2
from tvm_sod2.passes.select_dims import select_dims


def _counted(op: Callable[[tirx.Var, relax.Var], relax.Expr]) -> tvm.IRModule:
    """op(x) + arange(its length)"""
    n = tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType((n, 1, n), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            part = builder.emit(op(n, x))
            length = part.ty.shape.values[2]
            numbers = builder.emit(R.arange(tirx.const(0, "int64"), length, 1, "float32"))
            result = builder.emit_output(R.add(R.multiply(part, part), numbers))
        builder.emit_func_output(result)
    return builder.get()


def _pooled(_n: tirx.Var, x: relax.Var) -> relax.Expr:
    return R.nn.max_pool1d(x, [2], [3], [1, 1], ceil_mode=True)


def _cut(n: tirx.Var, x: relax.Var) -> relax.Expr:
    return R.strided_slice(x, [2], [0], [n - 3])


def test_calls_in_dims_become_selects() -> None:
    before = _counted(_pooled)
    assert "if_then_else" in before.script()
    after = select_dims(before)
    assert "if_then_else" not in after.script()
    pool, length = after["main"].body.blocks[0].bindings[:2]
    dim = pool.var.ty.shape.values[2]
    assert isinstance(dim, tirx.Select)
    assert tvm_ffi.structural_equal(dim, length.value)


def test_a_bound_number_is_what_it_is_bound_to() -> None:
    facts = tvm_sod2.analyze(_counted(_pooled))
    assert "if (n + 2) % 3 <= 1 else" in str(facts)


def _pooled_by_hand(x: np.ndarray) -> np.ndarray:
    """A window of 2 every 3, from 1 before the first; none begins behind the last."""
    padded = np.pad(x, [(0, 0), (0, 0), (1, 2)], constant_values=-np.inf)
    starts = range(0, min(-(-x.shape[2] // 3) * 3, x.shape[2]) + 1, 3)
    return np.stack([padded[..., s : s + 2].max(-1) for s in starts], -1)


@pytest.mark.parametrize(
    ("op", "by_hand"), [(_pooled, _pooled_by_hand), (_cut, lambda x: x[:, :, : x.shape[2] - 3])]
)
def test_such_dims_run(op, by_hand: Callable[[np.ndarray], np.ndarray]) -> None:
    main = relax.VirtualMachine(tvm_sod2.build(_counted(op)), tvm.cpu())["main"]
    for size in (1, 2, 3, 4, 5, 9, 11):
        x = np.random.default_rng(size).normal(size=(size, 1, size)).astype("float32")
        part = by_hand(x)
        expected = part * part + np.arange(part.shape[2], dtype="float32")
        np.testing.assert_allclose(main(tvm.runtime.tensor(x)).numpy(), expected, rtol=1e-6)
