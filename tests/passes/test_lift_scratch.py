"""Large scratch becomes an operand that the arena holds."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax, tirx
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2 import memory
from tvm_sod2.passes.lift_scratch import SCRATCH, LiftScratch
from tvm_sod2.passes.lower import lower_to_vm

HOST = tvm.target.Target({"kind": "llvm"})


@I.ir_module
class Net:
    @R.function
    def main(x: R.Tensor(("n", 8), "float32")):
        n = T.int64()
        cls = Net
        with R.dataflow():
            a = R.tanh(x)
            b = R.call_tir(cls.twice, (a,), out_ty=R.Tensor((n, 8), "float32"))
            c = R.call_tir(cls.twice, (b,), out_ty=R.Tensor((n, 8), "float32"))
            R.output(c)
        return c

    @T.prim_func(private=True)
    def twice(x: T.Buffer(("rows", 8), "float32"), y: T.Buffer(("rows", 8), "float32")):
        T.evaluate(0)


def with_kernel() -> tvm.IRModule:
    """`Net` whose kernel copies through a scratch of rows * 8 floats and doubles."""
    rows = tirx.Var("rows", "int64")
    x, y = (tirx.decl_buffer((rows, 8), "float32", name=name, layout=None) for name in "xy")
    scratch = tirx.decl_buffer((rows * 8,), "float32", name="scratch", layout=None)
    i, j = tirx.Var("i", "int64"), tirx.Var("j", "int64")
    zero, eight = tirx.IntImm("int64", 0), tirx.IntImm("int64", 8)

    def loops(store: tirx.Stmt) -> tirx.Stmt:
        inner = tirx.For(j, zero, eight, tirx.ForKind.SERIAL, store)
        return tirx.For(i, zero, rows, tirx.ForKind.SERIAL, inner)

    at = [i * 8 + j]
    fill = tirx.BufferStore(scratch, tirx.BufferLoad(x, [i, j]), at)
    loaded = tirx.BufferLoad(scratch, at)
    write = tirx.BufferStore(y, loaded + loaded, [i, j])
    body = tirx.SeqStmt([tirx.AllocBuffer(scratch), loops(fill), loops(write)])
    kernel = tirx.PrimFunc([x, y], body).with_attr(SCRATCH, True)
    mod = relax.transform.LegalizeOps()(Net)
    mod.update_func(mod.get_global_var("twice"), kernel)
    return mod


def test_scratch_is_an_output_of_the_call() -> None:
    after = LiftScratch()(with_kernel())
    relax.analysis.well_formed(after)
    kernel = after["twice"]
    assert [param.name for param in kernel.params] == ["x", "y", "scratch"]
    assert SCRATCH not in (kernel.attrs or {})
    calls = [
        binding.value
        for binding in after["main"].body.blocks[0].bindings
        if isinstance(binding.value, relax.Call) and binding.value.args[0].name_hint == "twice"
    ]
    for call in calls:
        assert [str(ty) for ty in call.ty_args[0].fields] == [
            'R.Tensor((n, 8), dtype="float32")',
            'R.Tensor((n * 8,), dtype="float32")',
        ]


def test_scratch_lives_in_the_arena() -> None:
    passes = lower_to_vm(HOST)
    before = tvm.transform.Sequential(passes[: [p.info.name for p in passes].index("PlanArena")])(
        with_kernel()
    )
    plan = memory.plan(before["main"], before)
    # a and b, and beside each the scratch of the kernel that reads it.
    assert plan.at({"n": 10}) == memory.Bytes(before=1280, after=960, lower_bound=960)
    ex = tvm.relax.build(with_kernel(), HOST, relax_pipeline=tvm.transform.Sequential(passes))
    main = relax.VirtualMachine(ex, tvm.cpu())["main"]
    for n in (0, 1, 7, 100):
        x = np.random.default_rng(0).random((n, 8), "float32")
        got = main(tvm.runtime.tensor(x)).numpy()
        np.testing.assert_allclose(got, np.tanh(x) * 4, rtol=1e-5)


def test_a_kernel_that_declares_nothing_is_left_alone() -> None:
    mod = with_kernel()
    mod.update_func(mod.get_global_var("twice"), mod["twice"].without_attr(SCRATCH))
    assert LiftScratch()(mod).same_as(mod)


@pytest.mark.parametrize(("floats", "lifted"), [(255, False), (256, True)])
def test_constant_scratch_is_lifted_where_the_stack_would_not_hold_it(
    floats: int, lifted: bool
) -> None:
    mod = with_kernel()
    x, y = mod["twice"].params
    scratch = tirx.decl_buffer((floats,), "float32", name="scratch", layout=None)
    zero = tirx.IntImm("int64", 0)
    through = tirx.BufferStore(scratch, tirx.FloatImm("float32", 2.0), [zero])
    out = tirx.BufferStore(y, tirx.BufferLoad(scratch, [zero]), [zero, zero])
    body = tirx.SeqStmt([tirx.AllocBuffer(scratch), through, out])
    mod.update_func(
        mod.get_global_var("twice"), tirx.PrimFunc([x, y], body).with_attr(SCRATCH, True)
    )
    names = [param.name for param in LiftScratch()(mod)["twice"].params]
    assert names == ["x", "y", *(["scratch"] if lifted else [])]
