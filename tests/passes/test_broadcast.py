"""Broadcasting that only the dims decide: what is rewritten, checked and refused."""

from __future__ import annotations

import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tests.passes.rewriting import operators
from tvm_sod2.errors import ShapeError
from tvm_sod2.passes.bounds import with_bounds
from tvm_sod2.passes.broadcast import decide_broadcasts
from tvm_sod2.passes.fold_shapes import CONSTRAINTS, fold_shapes
from tvm_sod2.passes.name_unknown import name_unknown_dims
from tvm_sod2.passes.requirements import PROMISE


@I.ir_module
class Sum:
    @R.function
    def main(x: R.Tensor(("n",), "float32"), y: R.Tensor(("m",), "float32")):
        n, m = T.int64(), T.int64()
        with R.dataflow():
            z = R.add(x, y)
            R.output(z)
        return z


@I.ir_module
class SumOfEven:
    @R.function
    def main(x: R.Tensor(("n * 2",), "float32"), y: R.Tensor(("m",), "float32"), s: R.Shape(["n"])):
        n, m = T.int64(), T.int64()
        with R.dataflow():
            z = R.add(x, y)
            R.output(z)
        return z


def folded(mod: tvm.IRModule) -> tvm.IRModule:
    found = decide_broadcasts(fold_shapes(name_unknown_dims(mod)))
    relax.analysis.well_formed(found)
    return found


def names(mod: tvm.IRModule) -> list[str]:
    return sorted(gvar.name_hint for gvar in mod.get_global_vars())


def needs(func: relax.Function) -> list[str]:
    return [message.value for _, message in func.attrs[CONSTRAINTS]]


def test_operands_are_stretched_to_what_rdp_found() -> None:
    @I.ir_module
    class Before:
        @R.function
        def main(x: R.Tensor(("n",), "float32"), y: R.Tensor(("m",), "float32")):
            n, m = T.int64(), T.int64()
            with R.dataflow():
                lv = R.add(x, y)
                z = R.match_cast(lv, R.Tensor((T.Select(n == 1, m, n),), "float32"))
                R.output(z)
            return z

    @I.ir_module
    class After:
        @R.function
        def main(x: R.Tensor(("n",), "float32"), y: R.Tensor(("m",), "float32")):
            n, m = T.int64(), T.int64()
            with R.dataflow():
                a = R.broadcast_to(x, R.shape([T.Select(n == 1, m, n)]))
                b = R.broadcast_to(y, R.shape([T.Select(n == 1, m, n)]))
                lv = R.add(a, b)
                z = lv
                R.output(z)
            return z

    tvm.ir.assert_structural_equal(decide_broadcasts(Before)["main"].body, After["main"].body, True)


def test_a_function_is_written_in_two_versions() -> None:
    mod = folded(Sum)
    assert names(mod) == ["main", "main_broadcast", "main_equal"]
    private = {name: tvm.IRModule({"main": mod[name]}) for name in ("main_equal", "main_broadcast")}
    assert operators(private["main_equal"]) == ["add"]
    assert operators(private["main_broadcast"]) == ["broadcast_to", "broadcast_to", "add"]
    (branch,) = (b.value for b in mod["main"].body.blocks[0].bindings[:1])
    assert isinstance(branch, relax.If) and str(branch.cond) == "m == n"
    assert needs(mod["main"]) == ["z: dim 0 of y is m, expected n unless one of them is 1"]


@pytest.mark.parametrize(
    ("low", "message"), [(2, ["z: dim 0 of y is m, expected n"]), (1, None), (0, None)]
)
def test_dims_that_cannot_be_one_are_equal(low: int, message: list[str] | None) -> None:
    mod = folded(with_bounds(Sum, {"n": (low, 9), "m": (low, 9)}))
    assert names(mod) == (["main"] if message else ["main", "main_broadcast", "main_equal"])
    if message:
        assert needs(mod["main"]) == message


def test_one_dim_that_cannot_be_one_is_the_result() -> None:
    mod = folded(SumOfEven)
    assert needs(mod["main"]) == ["z: dim 0 of y is m, expected n * 2 or 1"]
    assert str(mod["main"].ret_ty.shape.values[0]) == "n * T.int64(2)"


def test_equality_that_only_cases_prove_needs_no_version() -> None:
    @I.ir_module
    class Thirds:
        @R.function
        def main(
            x: R.Tensor(("T.min((n + 2) // 3, n // 3 + 1)",), "float32"),
            y: R.Tensor(("(n + 2) // 3",), "float32"),
            s: R.Shape(["n"]),
        ):
            n = T.int64()
            with R.dataflow():
                z = R.add(x, y)
                R.output(z)
            return z

    assert names(fold_shapes(name_unknown_dims(Thirds))) == ["main"]


def test_dims_that_can_neither_be_equal_nor_one_are_refused() -> None:
    @I.ir_module
    class Odd:
        @R.function
        def main(
            x: R.Tensor(("n * 2",), "float32"),
            y: R.Tensor(("n * 2 + 3",), "float32"),
            s: R.Shape(["n"]),
        ):
            n = T.int64()
            with R.dataflow():
                z = R.add(x, y)
                R.output(z)
            return z

    with pytest.raises((ShapeError, RuntimeError), match=r"z: dim 0 of y is n . 2 . 3, exp"):
        folded(Odd)


def test_a_chain_over_the_same_dims_broadcasts_once() -> None:
    @I.ir_module
    class Chain:
        @R.function
        def main(x: R.Tensor(("n",), "float32"), y: R.Tensor(("m",), "float32")):
            n, m = T.int64(), T.int64()
            with R.dataflow():
                a = R.add(x, y)
                b = R.multiply(a, x)
                c = R.subtract(y, b)
                R.output(c)
            return c

    mod = folded(Chain)
    assert len(needs(mod["main"])) == 1
    assert str(mod["main"].ret_ty.shape.values[0]) == "T.Select(n == T.int64(1), m, n)"


def test_dims_of_the_run_are_checked_where_they_meet() -> None:
    @I.ir_module
    class Counted:
        @R.function
        def main(x: R.Tensor(("n",), "float32"), y: R.Tensor(("m",), "float32")):
            with R.dataflow():
                a = R.unique(x, R.prim_value(1), R.prim_value(0), R.prim_value(0))
                b = R.unique(y, R.prim_value(1), R.prim_value(0), R.prim_value(0))
                z = R.add(a, b)
                R.output(z)
            return z

    mod = folded(Counted)
    assert names(mod) == ["main"]
    calls = [b.value for block in mod["main"].body.blocks for b in block.bindings]
    promises = [c.args[-1].value for c in calls if isinstance(c, relax.Call) and PROMISE in str(c)]
    assert promises == [
        "z: dim 0 of b is b_0, expected (b_0 if a_0 == 1 else a_0) or 1",
    ]
