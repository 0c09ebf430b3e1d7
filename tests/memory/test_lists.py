"""Tensors that a list holds: their bytes are nobody else's while the list can be read."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from random_nets import EXPLICIT
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2 import memory
from tvm_sod2.memory.aliases import EXTERN_KEEPS
from tvm_sod2.memory.arena import PlanArena
from tvm_sod2.memory.checker import PlanError, check_memory
from tvm_sod2.memory.dataflow import dataflow_of
from tvm_sod2.memory.sizes import SizeAlgebra
from tvm_sod2.memory.symbols import extents
from tvm_sod2.passes.lower import lower_to_vm

HOST = tvm.target.Target({"kind": "llvm"})


@I.ir_module
class Held:
    """A list is made in a function, and read in another after other tensors have lived."""

    @R.function(private=True)
    def appended(old: R.Any, new: R.Any) -> R.Any:
        R.func_attr({"relax.force_pure": True})
        made: R.Any = R.call_packed("ffi.List", old, new, ty_args=(R.Any,))
        _ = R.call_packed("ffi.ListReplaceSlice", made, 0, 2, old, ty_args=(R.Tuple,))
        _1 = R.call_packed("ffi.ListAppend", made, new, ty_args=(R.Tuple,))
        return made

    @R.function(private=True)
    def first(values: R.Any) -> R.Any:
        R.func_attr({"relax.force_pure": True})
        item: R.Any = R.call_packed("ffi.ListGetItem", values, 0, ty_args=(R.Any,))
        return item

    @R.function
    def main(x: R.Tensor(("n",), "float32"), given: R.Any) -> R.Tensor(("n",), "float32"):
        n = T.int64()
        cls = Held
        with R.dataflow():
            a = R.exp(x)
            values: R.Any = cls.appended(given, a)
            b = R.tanh(x)
            c = R.sin(b)
            d = R.cos(c)
            item: R.Any = cls.first(values)
            again = R.match_cast(item, R.Tensor((n,), "float32"))
            y = R.add(d, again)
            R.output(y)
        return y


@I.ir_module
class Filled:
    """A list is filled in place by code of which nothing is known."""

    @R.function(pure=False)
    def main(x: R.Tensor(("n",), "float32")) -> R.Any:
        a = R.exp(x)
        b = R.tanh(a)
        values: R.Any = R.call_packed("ffi.List", ty_args=(R.Any,))
        _ = R.call_packed("ffi.ListAppend", values, a, ty_args=(R.Tuple,))
        _1 = R.call_packed("ffi.ListAppend", values, b, ty_args=(R.Tuple,))
        c = R.sin(x)
        d = R.cos(c)
        e = R.add(c, d)
        _2 = R.call_packed("ffi.ListAppend", values, e, ty_args=(R.Tuple,))
        return values


@I.ir_module
class Packed:
    @R.function
    def main(x: R.Tensor(("n",), "float32")) -> R.Tensor(("n",), "float32"):
        n = T.int64()
        with R.dataflow():
            a = R.exp(x)
            values: R.Any = R.call_pure_packed("ffi.List", a, ty_args=(R.Any,))
            b = R.tanh(x)
            item: R.Any = R.call_pure_packed("ffi.ListGetItem", values, 0, ty_args=(R.Any,))
            again = R.match_cast(item, R.Tensor((n,), "float32"))
            y = R.add(b, again)
            R.output(y)
        return y


def forgetful(mod: tvm.IRModule) -> tvm.IRModule:
    """The module with a list that does not say, where it is made, what it will hold."""
    func = mod["appended"]
    (block,) = func.body.blocks
    made, *rest = block.bindings
    empty = relax.Call(made.value.op, [], None, [relax.AnyType()])
    filled = rest[0].value
    zero = filled.args[1]
    arguments = [made.var, zero, zero, filled.args[3]]
    refill = relax.Call(filled.op, arguments, None, [relax.TupleType([])])
    bindings = [
        relax.VarBinding(made.var, empty),
        relax.VarBinding(rest[0].var, refill),
        *rest[1:],
    ]
    body = relax.BlockBuilder().normalize(
        relax.SeqExpr([relax.BindingBlock(bindings)], func.body.body)
    )
    mod = mod.clone()
    changed = relax.Function(func.params, body, func.ret_ty, func.is_pure, func.attrs)
    mod.update_func(mod.get_global_var("appended"), changed)
    return mod


def run(mod: tvm.IRModule, *inputs: object) -> object:
    passes = [relax.transform.LegalizeOps(), *lower_to_vm(HOST)]
    ex = tvm.relax.build(mod, HOST, relax_pipeline=tvm.transform.Sequential(passes))
    return relax.VirtualMachine(ex, tvm.cpu())["main"](*inputs)


def test_what_a_list_holds_lives_as_long_as_the_list() -> None:
    explicit = EXPLICIT(Held)
    plan = memory.plan(explicit["main"], explicit)
    (segment,) = plan.segments
    assert len(segment.tensors) == 4  # a, b, c, d; none but the result is outside
    for n in (0, 1, 5, 100):
        check_memory(PlanArena()(explicit), {"n": n})
    x = np.linspace(-1, 1, 37).astype("float32")
    y = run(Held, tvm.runtime.tensor(x), [])
    expected = np.cos(np.sin(np.tanh(x))) + np.exp(x)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5)


def test_the_checker_sees_what_is_put_into_a_list_later() -> None:
    """A planner that is not told reuses the bytes; the checker does not believe it."""
    planned = PlanArena()(EXPLICIT(forgetful(Held)))
    with pytest.raises(PlanError, match=r"are both alive at .* and share bytes"):
        check_memory(planned, {"n": 5})


def test_what_foreign_code_puts_into_a_list_is_kept() -> None:
    explicit = EXPLICIT(Filled)
    plan = memory.plan(explicit["main"], explicit)
    reasons = [allocation.kept_because for allocation, _ in plan.kept]
    assert reasons == [EXTERN_KEEPS] * 3
    x = np.linspace(-1, 1, 37).astype("float32")
    values = [value.numpy() for value in run(Filled, tvm.runtime.tensor(x))]
    expected = [np.exp(x), np.tanh(np.exp(x)), np.sin(x) + np.cos(np.sin(x))]
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_the_order_of_steps_counts_what_a_list_holds() -> None:
    func = Packed["main"]
    (block,) = func.body.blocks
    flow = dataflow_of(block, [], func.body.body, SizeAlgebra(extents(func)))
    assert 0 in flow.uses[-1]  # The exponential is read by the sum.
