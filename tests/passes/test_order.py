"""Execution orders: never a higher peak, and the lowest one where it can be enumerated."""

from __future__ import annotations

import itertools
import random

import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tests.memory.random_nets import random_net
from tvm_sod2.memory.dataflow import Dataflow
from tvm_sod2.memory.sequence import best_order, peaks
from tvm_sod2.passes.order import OrderForMemory


def random_flow(seed: int, steps: int) -> tuple[Dataflow, list[list[int]]]:
    rng = random.Random(seed)
    uses = [
        frozenset(rng.sample(range(step), min(step, rng.randint(0, 2)))) for step in range(steps)
    ]
    kept = frozenset(rng.sample(range(steps), 1))
    samples = [[rng.choice([0, 1, 5, 20, 100]) for _ in range(steps)] for _ in range(2)]
    return Dataflow(tuple(uses), tuple(uses), ((),) * steps, kept), samples


def valid(flow: Dataflow, order: list[int]) -> bool:
    place = {step: i for i, step in enumerate(order)}
    return sorted(order) == list(range(len(order))) and all(
        place[need] < place[step] for step in order for need in flow.needs[step]
    )


@pytest.mark.parametrize("seed", range(40))
def test_one_sample_gets_the_lowest_peak_there_is(seed: int) -> None:
    flow, samples = random_flow(seed, 7)
    sizes = samples[0]
    order = best_order(flow, [sizes])
    assert valid(flow, order)
    everything = (list(p) for p in itertools.permutations(range(7)))
    lowest = min(peaks(flow, p, sizes)[0] for p in everything if valid(flow, p))
    assert peaks(flow, order, sizes)[0] == lowest


@pytest.mark.parametrize("seed", range(20))
def test_no_sample_gets_a_higher_peak(seed: int) -> None:
    flow, samples = random_flow(seed, 60)
    order = best_order(flow, samples)
    assert valid(flow, order)
    for sizes in samples:
        assert peaks(flow, order, sizes)[0] <= peaks(flow, range(60), sizes)[0]


def test_a_consumer_that_shrinks_its_input_comes_first() -> None:
    @I.ir_module
    class Before:
        @R.function
        def main(x: R.Tensor(("n", 64), "float32"), y: R.Tensor(("n", 64), "float32")):
            with R.dataflow():
                a = R.tanh(x)
                b = R.exp(y)
                c = R.sum(a, axis=1)
                d = R.sum(b, axis=1)
                e = R.add(c, d)
                R.output(e)
            return e

    @I.ir_module
    class After:
        @R.function
        def main(x: R.Tensor(("n", 64), "float32"), y: R.Tensor(("n", 64), "float32")):
            with R.dataflow():
                a = R.tanh(x)
                c = R.sum(a, axis=1)
                b = R.exp(y)
                d = R.sum(b, axis=1)
                e = R.add(c, d)
                R.output(e)
            return e

    tvm.ir.assert_structural_equal(OrderForMemory()(Before), After)


def test_an_order_that_is_already_best_is_kept() -> None:
    @I.ir_module
    class Chain:
        @R.function
        def main(x: R.Tensor(("n", 64), "float32")):
            with R.dataflow():
                a = R.tanh(x)
                b = R.exp(a)
                c = R.add(a, b)
                R.output(c)
            return c

    after = OrderForMemory()(Chain)
    assert after["main"].same_as(Chain["main"])


def test_nothing_moves_above_the_match_cast_of_its_symbol() -> None:
    @I.ir_module
    class Before:
        @R.function
        def main(x: R.Tensor(("n", 64), "float32"), s: R.Tensor((1,), "int64")):
            k = T.int64()
            with R.dataflow():
                big = R.tanh(x)
                shape = R.tensor_to_shape(s)
                dims = R.match_cast(shape, R.Shape([k]))
                a = R.zeros(R.shape([k]), "float32")
                b = R.exp(a)
                c = R.sum(big)
                d = R.add(b, c)
                R.output(d)
            return d

    after = OrderForMemory()(Before)
    relax.analysis.well_formed(after)
    names = [b.var.name for b in after["main"].body.blocks[0].bindings]
    assert names.index("dims") < names.index("a") < names.index("b")
    assert names.index("c") == names.index("big") + 1  # done before anything else is allocated


@pytest.mark.parametrize("seed", range(6))
def test_reordered_networks_are_well_formed(seed: int) -> None:
    mod, _ = random_net(seed, steps=20)
    mod = relax.transform.LegalizeOps()(mod)
    after = OrderForMemory()(mod)
    relax.analysis.well_formed(after)

    def names(m: tvm.IRModule) -> list[str]:
        return [b.var.name for block in m["main"].body.blocks for b in block.bindings]

    assert sorted(names(after)) == sorted(names(mod))
