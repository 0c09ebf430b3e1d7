"""Second names of variables, constants and shapes go; casts and outputs keep theirs."""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.passes.inline_leaves import inline_leaves


def test_second_names_go() -> None:
    @I.ir_module
    class Before:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32")) -> R.Tensor(("n * m",), "float32"):
            n, m = T.int64(), T.int64()
            with R.dataflow():
                a = x
                b = a
                s = R.shape([n * m])
                one = R.const(1.0, "float32")
                c = R.add(b, one)
                y = R.reshape(c, s)
                R.output(y)
            return y

    @I.ir_module
    class After:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32")) -> R.Tensor(("n * m",), "float32"):
            n, m = T.int64(), T.int64()
            with R.dataflow():
                c = R.add(x, R.const(1.0, "float32"))
                y = R.reshape(c, R.shape([n * m]))
                R.output(y)
            return y

    tvm.ir.assert_structural_equal(inline_leaves(Before), After)


def test_casts_stay_and_what_leaves_the_block_keeps_its_name() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n",), "float32"), y: R.Tensor(("k",), "float32")):
            k = T.int64()
            with R.dataflow():
                a = R.match_cast(x, R.Tensor((k,), "float32"))
                b = R.add(a, y)
                z = b
                R.output(z)
            return z

    after = inline_leaves(Net)
    relax.analysis.well_formed(after)
    (block,) = after["main"].body.blocks
    assert [binding.var.name for binding in block.bindings] == ["a", "b", "z"]
    assert isinstance(block.bindings[0], relax.MatchCast)
