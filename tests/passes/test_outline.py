"""Arms of an If become private functions."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.passes.lower import lower_to_vm
from tvm_sod2.passes.outline import OutlineControlFlow

HOST = tvm.target.Target({"kind": "llvm"})


def test_arms_become_functions_of_what_they_capture() -> None:
    @I.ir_module
    class Before:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32"), c: R.Tensor((), "bool")):
            if c:
                a = R.nn.relu(x)
                y = R.tanh(a)
            else:
                b = R.exp(x)
                y = R.add(b, x)
            return y

    @I.ir_module
    class After:
        @R.function(private=True)
        def main_then_0(x: R.Tensor(("n", "m"), "float32")) -> R.Tensor(("n", "m"), "float32"):
            a = R.nn.relu(x)
            y = R.tanh(a)
            return y

        @R.function(private=True)
        def main_else_0(x: R.Tensor(("n", "m"), "float32")) -> R.Tensor(("n", "m"), "float32"):
            b = R.exp(x)
            y = R.add(b, x)
            return y

        @R.function
        def main(x: R.Tensor(("n", "m"), "float32"), c: R.Tensor((), "bool")):
            cls = After
            if c:
                y = cls.main_then_0(x)
            else:
                y = cls.main_else_0(x)
            return y

    after = OutlineControlFlow()(Before)
    relax.analysis.well_formed(after)
    tvm.ir.assert_structural_equal(after, After)


def test_dims_that_no_captured_variable_determines_become_parameters() -> None:
    @I.ir_module
    class Before:
        @R.function
        def main(x: R.Tensor(("n", "k"), "float32"), c: R.Tensor((), "bool")):
            n = T.int64()
            k = T.int64()
            s = R.sum(x, axis=1)
            if c:
                y = R.reshape(s, R.shape([n]))
            else:
                z = R.full(R.shape([k]), R.const(2, "float32"), "float32")
                t = R.sum(z)
                y = R.add(s, t)
            return y

    after = OutlineControlFlow()(Before)
    assert [str(p.ty) for p in after["main_then_0"].params] == ['R.Tensor((n,), dtype="float32")']
    assert [p.name for p in after["main_else_0"].params] == ["s", "k"]
    for taken in (False, True):
        x = np.ones((3, 5), "float32")
        got = run(after, x, np.array(taken))
        np.testing.assert_allclose(got, [5 if taken else 15] * 3)


@I.ir_module
class Nested:
    @R.function
    def main(
        x: R.Tensor(("n",), "float32"), c: R.Tensor((), "bool"), d: R.Tensor((), "bool")
    ) -> R.Tensor(("n",), "float32"):
        w = R.tanh(x)
        if c:
            y = R.add(w, x)
        else:
            v = R.exp(w)
            if d:
                p = R.sin(v)
                z = R.add(p, w)
            else:
                q = R.cos(v)
                z = R.multiply(q, x)
            y = R.add(z, v)
        return R.nn.relu(y)


@pytest.mark.parametrize("taken", [(False, False), (False, True), (True, False)])
def test_arms_within_arms_and_only_the_live_one_runs(taken: tuple[bool, bool]) -> None:
    after = OutlineControlFlow()(Nested)
    names = sorted(gvar.name_hint for gvar in after.get_global_vars())
    assert names == ["main", "main_else_0", "main_else_1", "main_then_0", "main_then_1"]
    for name in names:
        arms = sum(
            isinstance(binding.value, relax.If)
            for block in after[name].body.blocks
            for binding in block.bindings
        )
        assert arms == (name in ("main", "main_else_0"))
    x = np.linspace(-2, 2, 7, dtype="float32")
    w = np.tanh(x)
    v = np.exp(w)
    c, d = taken
    want = w + x if c else (np.sin(v) + w if d else np.cos(v) * x) + v
    got = run(after, x, np.array(c), np.array(d))
    np.testing.assert_allclose(got, np.maximum(want, 0), rtol=1e-5, atol=1e-6)


def test_arms_of_different_shapes_keep_the_type_they_had() -> None:
    @I.ir_module
    class Before:
        @R.function
        def main(x: R.Tensor(("n",), "float32"), c: R.Tensor((), "bool")):
            k = T.int64()
            if c:
                y = R.tanh(x)
            else:
                y = R.concat([x, x])
            z = R.match_cast(y, R.Tensor((k,), "float32"))
            return R.nn.relu(z)

    after = OutlineControlFlow()(Before)
    relax.analysis.well_formed(after)
    x = np.arange(3, dtype="float32")
    np.testing.assert_allclose(run(after, x, np.array(False)), [0, 1, 2, 0, 1, 2])
    np.testing.assert_allclose(run(after, x, np.array(True)), np.tanh(x), rtol=1e-5)


def test_what_has_no_control_flow_is_left_alone() -> None:
    @I.ir_module
    class Straight:
        @R.function
        def main(x: R.Tensor(("n",), "float32"), c: R.Tensor((), "bool")):
            if c:
                y = x
            else:
                y = x
            return y

    after = OutlineControlFlow()(Straight)
    assert [gvar.name_hint for gvar in after.get_global_vars()] == ["main"]


def run(mod: tvm.IRModule, *inputs: np.ndarray) -> np.ndarray:
    passes = [relax.transform.LegalizeOps(), *lower_to_vm(HOST)]
    ex = tvm.relax.build(mod, HOST, relax_pipeline=tvm.transform.Sequential(passes))
    vm = relax.VirtualMachine(ex, tvm.cpu())
    return vm["main"](*(tvm.runtime.tensor(value) for value in inputs)).numpy()
