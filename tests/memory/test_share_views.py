"""Tensors of one place and shape become one object; all others stay apart."""

from __future__ import annotations

import pytest
import tvm
from random_nets import EXPLICIT, random_net
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.memory.arena import PlanArena
from tvm_sod2.memory.share_views import share_views

ALLOCATE = tvm.ir.Op.get("relax.memory.alloc_tensor")


def test_one_object_for_each_place_and_shape() -> None:
    @I.ir_module
    class Before:
        @R.function(pure=False)
        def main(x: R.Tensor(("n", 16), "float32"), offset: R.Shape(["k"])):
            n, k = T.int64(), T.int64()
            arena = R.memory.alloc_storage(R.shape([65536]), 0, "global", "uint8")
            a = R.memory.alloc_tensor(arena, 0, R.shape([n, 16]), "float32", 0)
            _ = R.call_packed("fill", x, a, ty_args=R.Tuple())
            raw = R.memory.alloc_tensor(arena, k, R.shape([n, 16]), "float32", 0)
            b = R.memory.ensure_zero_offset(raw)
            _1 = R.call_packed("fill", a, b, ty_args=R.Tuple())
            c = R.memory.alloc_tensor(arena, 0, R.shape([n, 16]), "float32", 0)
            _2 = R.call_packed("fill", b, c, ty_args=R.Tuple())
            raw1 = R.memory.alloc_tensor(arena, k, R.shape([n, 16]), "float32", 0)
            d = R.memory.ensure_zero_offset(raw1)
            _3 = R.call_packed("fill", c, d, ty_args=R.Tuple())
            return x

    @I.ir_module
    class After:
        @R.function(pure=False)
        def main(x: R.Tensor(("n", 16), "float32"), offset: R.Shape(["k"])):
            n, k = T.int64(), T.int64()
            arena = R.memory.alloc_storage(R.shape([65536]), 0, "global", "uint8")
            a = R.memory.alloc_tensor(arena, 0, R.shape([n, 16]), "float32", 0)
            _ = R.call_packed("fill", x, a, ty_args=R.Tuple())
            raw = R.memory.alloc_tensor(arena, k, R.shape([n, 16]), "float32", 0)
            b = R.memory.ensure_zero_offset(raw)
            _1 = R.call_packed("fill", a, b, ty_args=R.Tuple())
            _2 = R.call_packed("fill", b, a, ty_args=R.Tuple())
            _3 = R.call_packed("fill", a, b, ty_args=R.Tuple())
            return x

    tvm.ir.assert_structural_equal(share_views(Before), After)


def test_another_place_shape_type_or_storage_is_another_object() -> None:
    @I.ir_module
    class Apart:
        @R.function(pure=False)
        def main(x: R.Tensor(("n", "m"), "float32")):
            n, m = T.int64(), T.int64()
            arena = R.memory.alloc_storage(R.shape([4096]), 0, "global", "uint8")
            other = R.memory.alloc_storage(R.shape([4096]), 0, "global", "uint8")
            a = R.memory.alloc_tensor(arena, 0, R.shape([n, m]), "float32", 0)
            b = R.memory.alloc_tensor(arena, 64, R.shape([n, m]), "float32", 0)
            c = R.memory.alloc_tensor(arena, 0, R.shape([m, n]), "float32", 0)
            d = R.memory.alloc_tensor(arena, 0, R.shape([n, m]), "int32", 0)
            e = R.memory.alloc_tensor(other, 0, R.shape([n, m]), "float32", 0)
            _ = R.call_packed("fill", a, b, c, d, e, ty_args=R.Tuple())
            return x

    tvm.ir.assert_structural_equal(share_views(Apart), Apart)


def test_what_an_arm_makes_is_its_own() -> None:
    @I.ir_module
    class Branches:
        @R.function(pure=False)
        def main(x: R.Tensor((16,), "float32"), cond: R.Tensor((), "bool")):
            arena = R.memory.alloc_storage(R.shape([4096]), 0, "global", "uint8")
            before = R.memory.alloc_tensor(arena, 64, R.shape([16]), "float32", 0)
            _ = R.call_packed("fill", x, before, ty_args=R.Tuple())
            if cond:
                a = R.memory.alloc_tensor(arena, 0, R.shape([16]), "float32", 0)
                again = R.memory.alloc_tensor(arena, 64, R.shape([16]), "float32", 0)
                _1 = R.call_packed("fill", a, again, ty_args=R.Tuple())
                r = x
            else:
                b = R.memory.alloc_tensor(arena, 0, R.shape([16]), "float32", 0)
                _2 = R.call_packed("fill", x, b, ty_args=R.Tuple())
                r = x
            c = R.memory.alloc_tensor(arena, 0, R.shape([16]), "float32", 0)
            _3 = R.call_packed("fill", r, c, ty_args=R.Tuple())
            return x

    shared = share_views(Branches)
    relax.analysis.well_formed(shared)
    assert _allocations(shared) == ["before", "a", "b", "c"]
    assert _allocations(Branches) == ["before", "a", "again", "b", "c"]


def _allocations(mod: tvm.IRModule) -> list[str]:
    """Names of what main takes from a storage, arms included, in the order of the text."""
    lines = mod["main"].script().splitlines()
    made = [line for line in lines if "R.memory.alloc_tensor(" in line]
    return [line.split(":")[0].strip() for line in made]


@pytest.mark.parametrize("seed", range(6))
def test_planned_networks_keep_one_object_for_each_place(seed: int) -> None:
    planned = PlanArena()(EXPLICIT(random_net(seed)[0]))
    shared = share_views(planned)
    relax.analysis.well_formed(shared)
    calls: list[tuple[object, ...]] = []

    def visit(expr: relax.Expr) -> None:
        if isinstance(expr, relax.Call) and expr.op.same_as(ALLOCATE):
            calls.append((expr.args[0], *map(str, expr.args[1:])))

    relax.analysis.post_order_visit(shared["main"], visit)
    assert calls and len(set(calls)) == len(calls)
