"""Elementwise operators join the reduction that reads them, and when they do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

import tvm_sod2
from tvm_sod2.passes.fuse import fuse
from tvm_sod2.passes.fusion_plan import plan_groups

Operator = Callable[[relax.Expr], relax.Expr]


def counts(mod: tvm.IRModule) -> list[int]:
    """Operators in each group, in order."""
    return [len(group.members) for group in plan_groups(mod["main"].body.blocks[0])]


def chain(steps: list[Operator], shape: tuple[int | str, ...] = ("n", 64)) -> tvm.IRModule:
    """One operator after the other on a float32 tensor."""
    dims = [T.Var(d, "int64") if isinstance(d, str) else d for d in shape]
    builder = relax.BlockBuilder()
    value = relax.Var("x", relax.TensorType(dims, "float32"))
    with builder.function("main", [value]):
        with builder.dataflow():
            for step in steps[:-1]:
                value = builder.emit(step(value))
            value = builder.emit_output(steps[-1](value))
        builder.emit_func_output(value)
    return builder.get()


def test_a_square_is_computed_as_it_is_summed() -> None:
    @I.ir_module
    class Before:
        @R.function
        def main(x: R.Tensor(("n", 2, 257), "float32")):
            with R.dataflow():
                a = R.multiply(x, x)
                b = R.sum(a, axis=[1])
                c = R.sqrt(b)
                R.output(c)
            return c

    @I.ir_module
    class After:
        @R.function(private=True)
        def fused_multiply_sum_sqrt(
            x: R.Tensor(("d0", 2, 257), "float32"),
        ) -> R.Tensor(("d0", 257), "float32"):
            R.func_attr({"Primitive": True})
            with R.dataflow():
                a = R.multiply(x, x)
                b = R.sum(a, axis=[1])
                c = R.sqrt(b)
                R.output(c)
            return c

        @R.function
        def main(x: R.Tensor(("n", 2, 257), "float32")) -> R.Tensor(("n", 257), "float32"):
            n = T.int64()
            cls = After
            with R.dataflow():
                c: R.Tensor((n, 257), "float32") = cls.fused_multiply_sum_sqrt(x)
                R.output(c)
            return c

    tvm.ir.assert_structural_equal(fuse(relax.transform.Normalize()(Before)), After)


def pool(size: int, stride: int) -> Operator:
    return lambda x: op.nn.max_pool2d(x, (size, size), (stride, stride))


WINDOWS = ("n", 32, "h", "w")


@pytest.mark.parametrize(
    ("steps", "shape", "joins"),
    [
        ([op.nn.relu, op.sqrt, lambda x: op.nn.softmax(x, 1)], ("n", 64), True),
        ([op.tanh, lambda x: op.max(x, 1)], ("n", 64, 64), True),
        # With one result a row of threads would wait for one.
        ([op.tanh, lambda x: op.max(x, 1)], ("n", "m"), False),
        # Three times over the operand, an exponential each time.
        ([op.exp, lambda x: op.nn.softmax(x, 1)], ("n", 64), False),
        ([op.nn.relu, pool(3, 2)], WINDOWS, True),
        ([op.nn.relu, pool(5, 1)], WINDOWS, False),
        # What moves elements is no prologue.
        ([op.permute_dims, lambda x: op.sum(x, 1)], ("n", 64), False),
        # Nor is a reduction read by a second one.
        ([lambda x: op.sum(x, 1), lambda x: op.sum(x, 0)], ("n", 64), False),
    ],
)
def test_what_joins(steps: list[Operator], shape: tuple[int | str, ...], joins: bool) -> None:
    assert counts(chain(steps, shape)) == ([len(steps)] if joins else [1] * len(steps))


def test_a_second_reader_or_another_operand_keeps_a_kernel_of_its_own() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 64), "float32"), g: R.Tensor((64,), "float32")):
            with R.dataflow():
                a = R.nn.relu(x)
                b = R.sum(a, axis=[1])
                c = R.multiply(g, g)
                d = R.nn.rms_norm(x, c, axes=[-1])
                R.output(a, b, d)
            return (a, b, d)

    assert counts(Net) == [1, 1, 1, 1]


@pytest.fixture(scope="module")
def net() -> relax.VirtualMachine:
    """Sums in vectors along either axis, and a softmax that reads its operand three times."""
    n = T.Var("n", "int64")
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType([n, 33], "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            columns = builder.emit_output(op.sum(builder.emit(op.multiply(x, x)), 0))
            rows = builder.emit_output(op.sum(builder.emit(op.tanh(x)), 1))
            doubled = builder.emit(op.multiply(builder.emit(op.nn.relu(x)), relax.const(2.0)))
            soft = builder.emit_output(op.nn.softmax(doubled, 1))
        builder.emit_func_output((columns, rows, soft))
    return relax.VirtualMachine(tvm_sod2.build(builder.get()), tvm.cpu())


@pytest.mark.parametrize("size", [0, 1, 7, 33])
def test_results_are_those_of_numpy(net: relax.VirtualMachine, size: int) -> None:
    x = np.random.default_rng(size).standard_normal((size, 33), np.float32)
    columns, rows, soft = (found.numpy() for found in net["main"](tvm.runtime.tensor(x)))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(columns, (exact**2).sum(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows, np.tanh(exact).sum(1), rtol=1e-5, atol=1e-5)
    shares = np.exp(np.maximum(exact, 0) * 2)
    np.testing.assert_allclose(soft, shares / shares.sum(1, keepdims=True), rtol=1e-5, atol=1e-7)
