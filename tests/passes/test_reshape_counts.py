"""Reshapes whose dims the run decides: what is checked, and what needs no check."""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.passes.requirements import PROMISE
from tvm_sod2.passes.reshape_counts import check_reshapes

CALL_PURE_PACKED = tvm.ir.Op.get("relax.call_pure_packed")


@I.ir_module
class RunTime:
    @R.function
    def main(x: R.Tensor(("n", "m"), "float32"), s: R.Tensor((2,), "int64")):
        n, m, a, b = T.int64(), T.int64(), T.int64(), T.int64()
        with R.dataflow():
            given = R.tensor_to_shape(s)
            _ = R.match_cast(given, R.Shape([a, b]))
            y = R.reshape(x, R.shape([a, b]))
            flat = R.reshape(y, R.shape([a * b]))
            whole = R.reshape(x, R.shape([n * m]))
            R.output(flat, whole)
        return flat, whole


@I.ir_module
class InAnArm:
    @R.function
    def main(x: R.Tensor(("n", "m"), "float32"), k: R.Shape(["a"]), c: R.Tensor((), "bool")):
        n, m, a = T.int64(), T.int64(), T.int64()
        outside = R.reshape(x, R.shape([a, 2]))
        if c:
            y = R.reshape(x, R.shape([a]))
        else:
            y = R.reshape(x, R.shape([m * n]))
        return y, outside


def checked(mod: tvm.IRModule) -> list[str]:
    after = check_reshapes(mod)
    relax.analysis.well_formed(after)
    found: list[str] = []

    def visit(expr: tvm.ir.Expr) -> None:
        if isinstance(expr, relax.Call) and expr.op == CALL_PURE_PACKED:
            assert str(expr.args[0].global_symbol) == PROMISE
            found.append(str(expr.args[2].value))

    relax.analysis.post_order_visit(after["main"], visit)
    return found


def test_only_what_the_run_decides_is_checked() -> None:
    assert checked(RunTime) == [
        "y: number of elements in the new shape is a * b, expected n * m",
    ]


def test_an_arm_checks_for_itself_and_entry_for_the_rest() -> None:
    assert checked(InAnArm) == ["y_then: number of elements in the new shape is a, expected n * m"]
