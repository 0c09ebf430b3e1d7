"""Groups: who joins, who does not and why, and what a group's function looks like."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.passes.bind_scalars import bind_scalars
from tvm_sod2.passes.fuse import fuse
from tvm_sod2.passes.fusion_plan import plan_groups

WEIGHT = R.const(np.ones((16, 32), "float32"))
BIAS = R.const(np.ones((32,), "float32"))


def groups(mod: tvm.IRModule) -> list[list[str]]:
    block = mod["main"].body.blocks[0]
    return [[block.bindings[i].var.name for i in g.members] for g in plan_groups(block)]


def test_an_anchor_takes_its_elementwise_followers_and_a_residual() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 16), "float32"), r: R.Tensor(("n", 32), "float32")):
            with R.dataflow():
                a = R.matmul(x, WEIGHT)
                b = R.add(a, BIAS)
                c = R.sigmoid(b)
                d = R.multiply(b, c)
                e = R.add(d, r)
                R.output(e)
            return e

    assert groups(Net) == [["a", "b", "c", "d", "e"]]


def test_one_anchor_a_group() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 16), "float32"), y: R.Tensor(("n", 16), "float32")):
            with R.dataflow():
                a = R.matmul(x, WEIGHT)
                b = R.matmul(y, WEIGHT)
                c = R.add(a, b)
                R.output(c)
            return c

    assert groups(Net) == [["b"], ["a", "c"]]


def test_a_result_used_twice_ends_the_group() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 16), "float32")):
            with R.dataflow():
                a = R.matmul(x, WEIGHT)
                b = R.nn.relu(a)
                c = R.exp(a)
                R.output(b, c)
            return (b, c)

    assert groups(Net) == [["a"], ["b"], ["c"]]
    block = Net["main"].body.blocks[0]
    assert plan_groups(block)[0].why_not == "its result leaves the block or has no single join"


def test_a_broadcast_after_an_anchor_is_not_its_epilogue() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32")):
            with R.dataflow():
                a = R.mean(x, axis=[1], keepdims=True)
                b = R.add(a, x)
                R.output(b)
            return b

    assert groups(Net) == [["a"], ["b"]]
    assert "other dims than the anchor" in plan_groups(Net["main"].body.blocks[0])[0].why_not


def test_a_reshape_is_a_view_and_parts_groups() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 16), "float32")):
            n = T.int64()
            with R.dataflow():
                a = R.nn.relu(x)
                b = R.reshape(a, R.shape([n, 4, 4]))
                c = R.exp(b)
                d = R.permute_dims(c, [1, 0, 2])
                e = R.squeeze(R.strided_slice(d, axes=[0], begin=[1], end=[2]), [0])
                R.output(e)
            return e

    assert groups(Net)[0] == ["a"] and groups(Net)[1] == ["b"]
    assert [len(g) for g in groups(Net)] == [1, 1, 4]
    fused = fuse(relax.transform.Normalize()(Net))
    names = [b.value.op for b in fused["main"].body.blocks[0].bindings]
    assert names[1].name == "relax.reshape"


def test_the_groups_dims_are_its_own_and_equal_groups_are_one() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(
            x: R.Tensor(("n", "8 * ((h + 1) // 2)", 16), "float32"), y: R.Tensor(("h", 3, 16))
        ):
            n, h = T.int64(), T.int64()
            with R.dataflow():
                a = R.nn.relu(R.exp(x))
                b = R.nn.relu(R.exp(y))
                c = R.nn.relu(R.exp(a))
                o = (b, c)
                R.output(o)
            return o

    fused = fuse(relax.transform.Normalize()(Net))
    relax.analysis.well_formed(fused)
    functions = [f for g, f in fused.functions.items() if g.name_hint != "main"]
    shapes = sorted(str(f.params[0].ty.shape) for f in functions)
    assert len(shapes) == 2  # x and a share one, y has an int among its dims
    assert all("//" not in shape for shape in shapes)


def test_scalars_that_no_operand_binds_become_parameters() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n",), "float32"), k: R.Tensor(("m",), "float32")):
            n, m = T.int64(), T.int64()
            with R.dataflow():
                a = R.broadcast_to(x, R.shape([m, n]))
                b = R.broadcast_to(x, R.shape([m * 2 + 1, n]))
                o = (a, b)
                R.output(o)
            return o

    lowered = bind_scalars(
        relax.transform.FuseTIR()(
            relax.transform.LegalizeOps()(fuse(relax.transform.Normalize()(Net)))
        )
    )
    relax.analysis.well_formed(lowered)
    calls = [b.value for b in lowered["main"].body.blocks[0].bindings[:2]]
    scalars = [str(call.args[1].fields[-1]) for call in calls]
    assert scalars == ["m", "m * T.int64(2) + T.int64(1)"]


def test_a_cast_to_an_equal_dim_does_not_part_a_group() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("h", 16), "float32"), y: R.Tensor(("k", 32), "float32")):
            h, k = T.int64(), T.int64()
            with R.dataflow():
                a = R.matmul(x, WEIGHT)
                b = R.match_cast(a, R.Tensor((k, 32), "float32"))
                c = R.add(b, y)
                R.output(c)
            return c

    assert groups(Net) == [["a", "b", "c"]]
    fused = fuse(relax.transform.Normalize()(Net))
    relax.analysis.well_formed(fused)
    (group,) = [f for g, f in fused.functions.items() if g.name_hint != "main"]
    first, last = group.params[0].ty.shape.values[0], group.params[-1].ty.shape.values[0]
    assert first.same_as(last)


def test_a_constant_is_an_immediate_only_where_the_kernel_can_hold_it() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n",), "float32")):
            with R.dataflow():
                c = R.greater(x, R.const(0.5, "float32"))
                a = R.where(c, x, R.const(0.5, "float32"))
                b = R.multiply(a, R.const(0.5, "float32"))
                R.output(b)
            return b

    fused = fuse(relax.transform.Normalize()(Net))
    lowered = relax.transform.FuseTIR()(relax.transform.LegalizeOps()(fused))
    (call,) = [b.value for b in lowered["main"].body.blocks[0].bindings]
    assert len(call.args[1].fields) == 2  # x and the constant that `where` takes


def test_an_exponent_is_part_of_the_kernel() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n",), "float32")):
            with R.dataflow():
                y = R.power(x, R.const(5.0, "float32"))
                R.output(y)
            return y

    lowered = relax.transform.LegalizeOps()(fuse(relax.transform.Normalize()(Net)))
    (call,) = [b.value for b in lowered["main"].body.blocks[0].bindings]
    assert len(call.args) == 1  # Only x: LLVM has no vectors of a power by a number it reads.
