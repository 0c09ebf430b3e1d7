"""Constraints on input dims come out as clean messages, before anything runs."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax, tirx
from tvm.script import ir as I
from tvm.script import relax as R

from tvm_sod2.errors import BuildError
from tvm_sod2.passes.checks import CONSTRAINTS, CheckInputs
from tvm_sod2.passes.lower import lower_to_vm

HOST = tvm.target.Target({"kind": "llvm"})


@I.ir_module
class Net:
    @R.function
    def main(x: R.Tensor(("n", "m"), "float32")):
        with R.dataflow():
            y = R.tanh(x)
            R.output(y)
        return y


def constrained(condition: str, message: str) -> tvm.IRModule:
    n, m = Net["main"].params[0].ty.shape.values
    conditions = {
        "even": tirx.EQ(tirx.floormod(n, 2), tirx.IntImm("int64", 0)),
        "equal": tirx.EQ(n, m),
        "always": tirx.GE(n + m, tirx.IntImm("int64", 0)),
        "foreign": tirx.EQ(tirx.Var("elsewhere", "int64"), n),
    }
    func = Net["main"].with_attr(CONSTRAINTS, [[conditions[condition], message]])
    return tvm.IRModule({"main": func})


def virtual_machine(mod: tvm.IRModule) -> relax.VirtualMachine:
    passes = [relax.transform.LegalizeOps(), *lower_to_vm(HOST)]
    ex = tvm.relax.build(mod, HOST, relax_pipeline=tvm.transform.Sequential(passes))
    return relax.VirtualMachine(ex, tvm.cpu())


@pytest.mark.parametrize(
    ("condition", "good", "bad"), [("even", (4, 3), (3, 3)), ("equal", (5, 5), (5, 6))]
)
def test_the_message_comes_out_through_the_vm(
    condition: str, good: tuple[int, int], bad: tuple[int, int]
) -> None:
    message = f"dim n must be {condition}, for node Reshape_7"
    main = virtual_machine(constrained(condition, message))["main"]
    main(tvm.runtime.tensor(np.zeros(good, "float32")))
    with pytest.raises(ValueError, match=f"^{message}$"):
        main(tvm.runtime.tensor(np.zeros(bad, "float32")))


def test_bounds_are_checked() -> None:
    bounds = {"tir_var_lower_bound": {"n": 2}, "tir_var_upper_bound": {"n": 8}}
    func = Net["main"].with_attrs(bounds)
    main = virtual_machine(tvm.IRModule({"main": func}))["main"]
    main(tvm.runtime.tensor(np.zeros((8, 1), "float32")))
    for n, text in ((9, "dim n must be at most 8"), (1, "dim n must be at least 2")):
        with pytest.raises(ValueError, match=text):
            main(tvm.runtime.tensor(np.zeros((n, 1), "float32")))


def test_what_always_holds_is_not_checked() -> None:
    after = CheckInputs()(constrained("always", "never seen"))
    assert [gvar.name_hint for gvar in after.get_global_vars()] == ["main"]


def test_symbols_renewed_by_a_pass_are_found_by_name() -> None:
    mod = constrained("even", "dim n must be even")
    renewed = relax.utils.copy_with_new_vars(mod["main"])
    main = virtual_machine(tvm.IRModule({"main": renewed}))["main"]
    with pytest.raises(ValueError, match="dim n must be even"):
        main(tvm.runtime.tensor(np.zeros((3, 3), "float32")))


def test_a_constraint_on_a_dim_of_no_input_is_refused() -> None:
    # Errors that cross TVM's C++ keep their class only where it is registered with tvm_ffi.
    with pytest.raises((BuildError, RuntimeError), match="is about elsewhere, which no input has"):
        CheckInputs()(constrained("foreign", "nonsense"))
