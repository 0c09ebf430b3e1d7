"""Runs of pure bindings become dataflow blocks; what has effects or arms stays outside."""

from __future__ import annotations

from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.passes.to_dataflow import to_dataflow


def shape(mod) -> list[tuple[bool, list[str]]]:
    """Per block of main: whether it is dataflow, and its variables with those that leave it
    capitalised."""
    return [
        (
            isinstance(block, relax.DataflowBlock),
            [
                b.var.name if isinstance(b.var, relax.DataflowVar) else b.var.name.upper()
                for b in block.bindings
            ],
        )
        for block in mod["main"].body.blocks
    ]


def test_runs_end_at_control_flow() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n",), "float32"), c: R.Tensor((), "bool")):
            a = R.exp(x)
            b = R.nn.relu(a)
            if c:
                d = R.exp(b)
                e = R.nn.relu(d)
                f = e
            else:
                g = R.sqrt(b)
                f = g
            h = R.exp(f)
            i = R.add(h, h)
            return i

    cut = to_dataflow(Net)
    relax.analysis.well_formed(cut)
    assert shape(cut) == [(True, ["a", "B"]), (False, ["F"]), (True, ["h", "I"])]
    arm = cut["main"].body.blocks[1].bindings[0].value.true_branch
    assert isinstance(arm.blocks[0], relax.DataflowBlock)


def test_a_match_cast_keeps_its_symbols() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32"), y: R.Tensor(("k", "m"), "float32")):
            n, m, k = T.int64(), T.int64(), T.int64()
            a = R.match_cast(y, R.Tensor((n, m), "float32"))
            b = R.add(x, a)
            return b

    cut = to_dataflow(Net)
    relax.analysis.well_formed(cut)
    assert shape(cut) == [(True, ["a", "B"])]
    cast = cut["main"].body.blocks[0].bindings[0]
    assert isinstance(cast, relax.MatchCast)
    assert [str(d) for d in cut["main"].params[1].ty.shape.values] == ["k", "m"]


def test_calls_with_effects_stay_outside() -> None:
    @I.ir_module
    class Net:
        @R.function(pure=False)
        def main(x: R.Tensor(("n",), "float32")):
            a = R.exp(x)
            R.print(a, format="{}")
            b = R.nn.relu(a)
            return b

    cut = to_dataflow(Net)
    relax.analysis.well_formed(cut)
    assert [dataflow for dataflow, _ in shape(cut)] == [True, False, True]


def test_dataflow_blocks_stay_as_they_are() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n",), "float32")):
            with R.dataflow():
                a = R.exp(x)
                b = R.nn.relu(a)
                R.output(b)
            return b

    assert shape(to_dataflow(Net)) == [(True, ["a", "B"])]
