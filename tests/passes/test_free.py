"""Objects are let go of after their last use, also after and inside an If."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

from tvm_sod2.passes.free import FreeAfterLastUse
from tvm_sod2.passes.lower import lower_to_vm
from tvm_sod2.passes.outline import OutlineControlFlow

HOST = tvm.target.Target({"kind": "llvm"})


@I.ir_module
class Gates:
    @R.function
    def main(x: R.Tensor(("n",), "float32"), c: R.Tensor((), "bool"), d: R.Tensor((), "bool")):
        w = R.nn.relu(x)
        if c:
            a = R.tanh(w)
            y = R.exp(a)
        else:
            y = w
        if d:
            b = R.tanh(y)
            z = R.exp(b)
        else:
            z = y
        p = R.sin(z)
        return R.add(p, z)


def lowered() -> tuple[tvm.IRModule, list[tvm.transform.Pass]]:
    passes = [OutlineControlFlow(), relax.transform.LegalizeOps(), *lower_to_vm(HOST)]
    return tvm.transform.Sequential(passes[:-1])(Gates), passes


def test_every_object_is_killed_once_after_its_last_use() -> None:
    mod, _ = lowered()
    killed: list[relax.Var] = []
    bound: dict[relax.Var, str] = {}

    def visit(body: relax.SeqExpr) -> None:
        for block in body.blocks:
            for binding in block.bindings:
                value = binding.value
                if isinstance(value, relax.If):
                    visit(value.true_branch)
                    visit(value.false_branch)
                if isinstance(value, relax.Call) and getattr(value.op, "name", "").endswith(
                    "kill_object"
                ):
                    killed.append(value.args[0])
                    continue
                for var in relax.analysis.free_vars(value):
                    assert var not in killed
                bound[binding.var] = binding.var.name

    visit(mod["main"].body)
    assert len(killed) == len(set(killed))
    names = [var.name for var in killed]
    assert "y" in names and "z" in names and names.count("arm") + names.count("arm_1") == 2
    assert names.index("y") < names.index("z")
    result = mod["main"].body.body
    assert result not in killed


@pytest.mark.parametrize("taken", [(False, False), (False, True), (True, False), (True, True)])
def test_gated_networks_compute_what_they_should(taken: tuple[bool, bool]) -> None:
    _, passes = lowered()
    ex = tvm.relax.build(Gates, HOST, relax_pipeline=tvm.transform.Sequential(passes))
    main = relax.VirtualMachine(ex, tvm.cpu())["main"]
    x = np.linspace(-1, 1, 9, dtype="float32")
    y = np.maximum(x, 0)
    for gate in taken:
        y = np.exp(np.tanh(y)) if gate else y
    gates = [tvm.runtime.tensor(np.array(gate)) for gate in taken]
    for _ in range(3):
        got = main(tvm.runtime.tensor(x), *gates).numpy()
        np.testing.assert_allclose(got, np.sin(y) + y, rtol=1e-5, atol=1e-6)


def test_straight_lines_are_freed_as_they_run() -> None:
    @I.ir_module
    class Before:
        @R.function(pure=False)
        def main(x: R.Tensor(("n",), "float32")):
            a = R.call_packed("f", x, ty_args=(R.Tensor(ndim=1, dtype="float32"),))
            b = R.call_packed("f", a, ty_args=(R.Tensor(ndim=1, dtype="float32"),))
            c = R.call_packed("g", a, b, ty_args=(R.Tensor(ndim=1, dtype="float32"),))
            return c

    @I.ir_module
    class After:
        @R.function(pure=False)
        def main(x: R.Tensor(("n",), "float32")):
            a = R.call_packed("f", x, ty_args=(R.Tensor(ndim=1, dtype="float32"),))
            b = R.call_packed("f", a, ty_args=(R.Tensor(ndim=1, dtype="float32"),))
            c = R.call_packed("g", a, b, ty_args=(R.Tensor(ndim=1, dtype="float32"),))
            R.vm.kill_object(a)
            R.vm.kill_object(b)
            return c

    tvm.ir.assert_structural_equal(FreeAfterLastUse()(Before), After)
