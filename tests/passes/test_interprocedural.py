"""RDP across calls: results in the caller's dims, recursion to a fixed point."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

import tvm_sod2
from tvm_sod2.memory.text import to_python
from tvm_sod2.passes.fold_shapes import fold_shapes
from tvm_sod2.passes.interprocedural import propagate_module
from tvm_sod2.passes.name_unknown import name_unknown_dims


def returned(mod: tvm.IRModule, name: str = "main") -> list[str]:
    found = propagate_module(name_unknown_dims(mod))
    (gvar,) = [g for g in found if g.name_hint == name]
    fact = found[gvar].returned
    unknown = {*found[gvar].origins, *found[gvar].nacs}
    return ["?" if dim in unknown else to_python(dim) for dim in fact.dims]


@I.ir_module
class Calls:
    @R.function(private=True)
    def choose(x: R.Tensor(("a", "b"), "float32"), c: R.Tensor((), "bool")) -> R.Tensor(
        "float32", ndim=2
    ):
        if c:
            y = R.concat([x, x], axis=0)
        else:
            y = R.nn.relu(x)
        return y

    @R.function
    def main(x: R.Tensor(("n", "m"), "float32"), c: R.Tensor((), "bool")):
        cls = Calls
        y = cls.choose(x, c)
        return y


def test_a_calls_result_has_the_callers_dims() -> None:
    assert returned(Calls, "choose") == ["?", "b"]
    assert returned(Calls) == ["?", "m"]
    folded = fold_shapes(name_unknown_dims(Calls))
    relax.analysis.well_formed(folded)
    last = folded["main"].body.blocks[-1].bindings[-1].var
    assert to_python(last.ty.shape.values[1]) == "m"


@I.ir_module
class Countdown:
    @R.function(private=True)
    def again(x: R.Tensor(("a", "b"), "float32"), k: R.Tensor((), "int64")) -> R.Tensor(
        "float32", ndim=2
    ):
        cls = Countdown
        more = R.greater(k, R.const(0, "int64"))
        if more:
            y = R.add(x, R.const(1.0, "float32"))
            less = R.subtract(k, R.const(1, "int64"))
            deeper = cls.again(y, less)
            z = deeper
        else:
            z = x
        return z

    @R.function
    def main(x: R.Tensor(("n", 3), "float32"), k: R.Tensor((), "int64")):
        cls = Countdown
        y = cls.again(x, k)
        return y


def test_a_recursive_function_that_keeps_its_shape() -> None:
    assert returned(Countdown, "again") == ["a", "b"]
    assert returned(Countdown) == ["n", "3"]


def test_recursion_runs() -> None:
    main = relax.VirtualMachine(tvm_sod2.build(Countdown), tvm.cpu())["main"]
    x = np.zeros((4, 3), np.float32)
    found = main(tvm.runtime.tensor(x), tvm.runtime.tensor(np.array(5, np.int64))).numpy()
    np.testing.assert_array_equal(found, x + 5)


@I.ir_module
class Growing:
    @R.function(private=True)
    def again(x: R.Tensor(("a", "b"), "float32"), k: R.Tensor((), "int64")) -> R.Tensor(
        "float32", ndim=2
    ):
        cls = Growing
        more = R.greater(k, R.const(0, "int64"))
        if more:
            y = R.concat([x, x], axis=0)
            less = R.subtract(k, R.const(1, "int64"))
            deeper = cls.again(y, less)
            z = deeper
        else:
            z = x
        return z

    @R.function
    def main(x: R.Tensor(("n", "m"), "float32"), k: R.Tensor((), "int64")):
        cls = Growing
        y = cls.again(x, k)
        return y


def test_a_dim_that_recursion_changes_is_unknown_and_the_others_are_not() -> None:
    assert returned(Growing, "again") == ["?", "b"]
    assert returned(Growing) == ["?", "m"]


def test_shape_changing_recursion_runs() -> None:
    main = relax.VirtualMachine(tvm_sod2.build(Growing), tvm.cpu())["main"]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = main(tvm.runtime.tensor(x), tvm.runtime.tensor(np.array(3, np.int64))).numpy()
    np.testing.assert_array_equal(found, np.concatenate([x] * 8))


def test_two_functions_that_call_each_other() -> None:
    @I.ir_module
    class Mutual:
        @R.function(private=True)
        def even(x: R.Tensor(("a",), "float32"), c: R.Tensor((), "bool")) -> R.Tensor(
            "float32", ndim=1
        ):
            cls = Mutual
            if c:
                y = cls.odd(x, c)
                z = y
            else:
                z = x
            return z

        @R.function(private=True)
        def odd(x: R.Tensor(("a",), "float32"), c: R.Tensor((), "bool")) -> R.Tensor(
            "float32", ndim=1
        ):
            cls = Mutual
            if c:
                y = cls.even(x, c)
                z = y
            else:
                z = R.nn.relu(x)
            return z

        @R.function
        def main(x: R.Tensor(("n",), "float32"), c: R.Tensor((), "bool")):
            cls = Mutual
            y = cls.even(x, c)
            return y

    assert returned(Mutual, "odd") == ["a"]
    assert returned(Mutual) == ["n"]


def test_the_module_is_left_alone() -> None:
    before = Growing.script()
    propagate_module(Growing)
    assert Growing.script() == before
