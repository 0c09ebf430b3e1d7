"""Backward RDP: intervals and solutions against brute force, and what becomes of the IR."""

from __future__ import annotations

import random

import numpy as np
import pytest
import tvm
from tvm import relax, tirx
from tvm.script import ir as I
from tvm.script import relax as R

import tvm_sod2
from tvm_sod2.memory.text import compile_size, to_python
from tvm_sod2.op_classes import Arithmetic
from tvm_sod2.passes.fold_shapes import fold_shapes
from tvm_sod2.passes.inversion import interval_of, solve
from tvm_sod2.passes.name_unknown import name_unknown_dims
from tvm_sod2.passes.rdp import propagate


def random_chain(rng: random.Random, symbol: tirx.Var) -> tvm.ir.Expr:
    expr: tvm.ir.Expr = symbol
    for _ in range(rng.randint(1, 4)):
        constant = rng.randint(1, 9)
        expr = rng.choice(
            [
                lambda e, c: e + c,
                lambda e, c: e - c,
                lambda e, c: e * c,
                lambda e, c: tirx.floordiv(e, tirx.const(c, "int64")),
            ]
        )(expr, constant)
    return expr


@pytest.mark.parametrize("seed", range(40))
def test_intervals_are_exact_on_chains(seed: int) -> None:
    rng = random.Random(seed)
    symbol = tirx.Var("n", "int64")
    expr = random_chain(rng, symbol)
    evaluate = compile_size(to_python(expr))
    low = evaluate({"n": rng.randint(0, 40)})
    high = low + rng.randint(0, 5)
    inside = [n for n in range(20000) if low <= evaluate({"n": n}) <= high]
    found = interval_of(expr, low, high)
    assert found is not None
    assert (found.low, found.high) == (min(inside), max(inside))


def test_an_interval_of_two_symbols_is_none() -> None:
    n, m = tirx.Var("n", "int64"), tirx.Var("m", "int64")
    assert interval_of(n * m, 3, 3) is None
    assert interval_of(n % 4, 1, 1) is None


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (lambda n, m: m, lambda n, m: n, "n"),
        (lambda n, m: m + 3, lambda n, m: n * 2, "n * 2 - 3"),
        (lambda n, m: n + 1, lambda n, m: m - n // 2, "n + n // 2 + 1"),
        (lambda n, m: m * 2, lambda n, m: n, "m * 2"),  # solved for n, whose factor is 1
        (lambda n, m: m // 2, lambda n, m: n, "m // 2"),
    ],
)
def test_solutions(a, b, expected: str) -> None:
    arithmetic = Arithmetic()
    n, m = tirx.Var("n", "int64"), tirx.Var("m", "int64")
    arithmetic.bind(n)
    arithmetic.bind(m)
    solution = solve(a(n, m), b(n, m), {n: 0, m: 1}, arithmetic)
    assert solution is not None
    found, wanted = compile_size(to_python(solution.value)), compile_size(expected)
    for dims in ({"n": 3, "m": 5}, {"n": 0, "m": 1}, {"n": 12, "m": 7}):
        assert found(dims) == wanted(dims)


def test_nothing_is_solved_for_without_a_linear_symbol() -> None:
    n, m = tirx.Var("n", "int64"), tirx.Var("m", "int64")
    assert solve(n * n, m * m, {n: 0, m: 1}, Arithmetic()) is None
    assert solve(n, m, {}, Arithmetic()) is None


@I.ir_module
class SharedK:
    @R.function
    def main(x: R.Tensor(("n", "k"), "float32"), y: R.Tensor(("j", "m"), "float32")):
        with R.dataflow():
            z = R.matmul(x, y)
            w = R.add(z, R.const(1.0, "float32"))
            R.output(w)
        return w


def test_two_dims_that_the_model_forces_to_be_equal_become_one() -> None:
    found = propagate(name_unknown_dims(SharedK)["main"])
    assert {s.name: to_python(e) for s, e in found.symbols.items()} == {"j": "k"}
    assert [c.message for c in found.constraints] == ["z: dim 0 of y is j, expected k"]
    folded = fold_shapes(name_unknown_dims(SharedK))
    relax.analysis.well_formed(folded)
    used = folded["main"].body.blocks[-1].bindings[0].value.args[1]
    assert to_python(used.ty.shape.values[0]) == "k"


def test_the_equality_is_checked_at_run_time_by_name() -> None:
    main = relax.VirtualMachine(tvm_sod2.build(SharedK), tvm.cpu())["main"]
    x, y = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
    assert main(tvm.runtime.tensor(x), tvm.runtime.tensor(y)).numpy().tolist() == [[4.0] * 4] * 2
    with pytest.raises(ValueError, match="dim 0 of y is j, expected k"):
        main(tvm.runtime.tensor(x), tvm.runtime.tensor(np.ones((5, 4), np.float32)))


def test_a_convolutions_output_bounds_its_input() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(
            x: R.Tensor(("n", 1, "h", 8), "float32"),
            w: R.Tensor((1, 1, 3, 3), "float32"),
            y: R.Tensor(("n", 1, 4, "k"), "float32"),
        ):
            with R.dataflow():
                a = R.nn.conv2d(x, w, strides=[2, 1])
                b = R.concat([a, y], axis=3)
                c = R.mean(x, axis=[2])
                o = (b, c)
                R.output(o)
            return o

    found = propagate(name_unknown_dims(Net)["main"])
    facts = {v.name: f for v, f in found.facts.items()}
    assert [to_python(d) for d in facts["a"].dims][2] == "4"
    (constraint,) = found.constraints
    admitted = [h for h in range(40) if compile_size(to_python(constraint.condition))({"h": h})]
    assert admitted == [9, 10]


def test_an_arm_requires_nothing_of_those_who_take_the_other() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(
            x: R.Tensor(("n", "k"), "float32"),
            y: R.Tensor(("j", "m"), "float32"),
            c: R.Tensor((), "bool"),
        ):
            if c:
                a = R.matmul(x, y)
                b = R.sum(a)
                z = b
            else:
                d = R.sum(x)
                z = d
            return z

    assert propagate(name_unknown_dims(Net)["main"]).constraints == []
    main = relax.VirtualMachine(tvm_sod2.build(Net), tvm.cpu())["main"]
    arguments = [np.ones((2, 3), np.float32), np.ones((5, 4), np.float32), np.array(False)]
    assert main(*map(tvm.runtime.tensor, arguments)).numpy() == 6.0


def test_an_input_smaller_than_the_kernel_is_refused_by_name() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 1, "h", 8), "float32"), w: R.Tensor((1, 1, 5, 3), "float32")):
            with R.dataflow():
                a = R.nn.conv2d(x, w)
                b = R.nn.relu(a)
                R.output(b)
            return b

    (constraint,) = propagate(name_unknown_dims(Net)["main"]).constraints
    assert constraint.message == "a: dim 2 of its result is h - 4, expected 1 or more"
    main = relax.VirtualMachine(tvm_sod2.build(Net), tvm.cpu())["main"]
    weight = tvm.runtime.tensor(np.ones((1, 1, 5, 3), np.float32))
    for height in (5, 6):
        x = tvm.runtime.tensor(np.ones((1, 1, height, 8), np.float32))
        assert main(x, weight).numpy().shape == (1, 1, height - 4, 6)
    with pytest.raises(ValueError, match="dim 2 of its result is h - 4, expected 1 or more"):
        main(tvm.runtime.tensor(np.ones((1, 1, 4, 8), np.float32)), weight)
