"""Constants without entries are allocated, others stay constants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

import tvm_sod2
from tvm_sod2.passes.empty_constants import empty_constants


def appended(rows: int) -> tvm.IRModule:
    """What is given, with `rows` constant rows behind."""
    extra = relax.const(np.ones((rows, 3), "float32"))

    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3), "float32")):
            with R.dataflow():
                y = R.concat([x, extra], axis=0)
                R.output(y)
            return y

    return Net


def constant_sizes(mod: tvm.IRModule) -> list[int]:
    sizes: list[int] = []

    def visit(expr: tvm.ir.Expr) -> None:
        if isinstance(expr, tvm.ir.GenericConst) and isinstance(expr.ty, relax.TensorType):
            sizes.append(expr.value.numpy().size)

    relax.analysis.post_order_visit(mod["main"], visit)
    return sizes


def test_only_empty_ones_are_allocated() -> None:
    assert constant_sizes(appended(0)) == [0]
    assert constant_sizes(empty_constants(appended(0))) == []
    text = empty_constants(appended(0)).script()
    assert "R.builtin.alloc_tensor(R.shape([0, 3])" in text
    assert empty_constants(appended(2)).script() == appended(2).script()


def test_a_library_with_one_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    tvm_sod2.build(appended(0)).export_library(str(path))
    vm = relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu())
    for rows in (0, 1, 7):
        x = np.random.default_rng(0).random((rows, 3), "float32")
        np.testing.assert_array_equal(vm["main"](tvm.runtime.tensor(x)).numpy(), x)
