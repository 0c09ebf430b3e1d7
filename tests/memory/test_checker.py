"""The checker finds the mistakes it is there for."""

from __future__ import annotations

import pytest
import tvm
from random_nets import EXPLICIT
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.memory.arena import PlanArena
from tvm_sod2.memory.checker import PlanError, check_memory


@I.ir_module
class Net:
    @R.function
    def main(x: R.Tensor(("n", 16), "float32")):
        with R.dataflow():
            a = R.tanh(x)
            b = R.exp(a)
            c = R.add(a, b)
            d = R.sin(c)
            R.output(d)
        return d


def planned() -> tvm.IRModule:
    return PlanArena()(EXPLICIT(Net))


def with_edited_calls(mod: tvm.IRModule, operator: str, edit) -> tvm.IRModule:
    """`mod` with every call of `operator` in main replaced by ``edit(number, call)``."""
    func, number = mod["main"], -1
    blocks = []
    for block in func.body.blocks:
        bindings = []
        for binding in block.bindings:
            value = binding.value
            if isinstance(value, relax.Call) and getattr(value.op, "name", "") == operator:
                number += 1
                binding = relax.VarBinding(binding.var, edit(number, value))
            bindings.append(binding)
        blocks.append(relax.BindingBlock(bindings))
    body = relax.BlockBuilder().normalize(relax.SeqExpr(blocks, func.body.body))
    edited = relax.Function(func.params, body, func.ret_ty, func.is_pure, func.attrs)
    out = mod.clone()
    out.update_func(mod.get_global_var("main"), edited)
    return out


def moved(offset: int):
    def edit(number: int, call: relax.Call) -> relax.Call:
        storage, _, shape, dtype, device = call.args
        place = offset if number < 3 else 0
        return relax.op.memory.alloc_tensor(storage, place, shape, dtype, device)

    return edit


def test_a_right_plan_passes() -> None:
    for n in (0, 1, 7, 100):
        assert check_memory(planned(), {"n": n}) == max(4096, 1 << (192 * n - 1).bit_length())


def test_tensors_at_one_place_overlap() -> None:
    broken = with_edited_calls(planned(), "relax.memory.alloc_tensor", moved(0))
    with pytest.raises(PlanError, match=r"are both alive at .* and share bytes 0 to 320"):
        check_memory(broken, {"n": 5})
    check_memory(broken, {"n": 0})  # nothing overlaps where there is nothing


def test_offsets_are_multiples_of_a_cache_line() -> None:
    broken = with_edited_calls(planned(), "relax.memory.alloc_tensor", moved(8))
    with pytest.raises(PlanError, match="has bytes 8 to"):
        check_memory(broken, {"n": 5})


def test_tensors_stay_inside_the_arena() -> None:
    def small(number: int, call: relax.Call) -> relax.Call:
        size = relax.ShapeExpr([128]) if number == 0 else call.args[0]
        return relax.op.memory.alloc_storage(size, call.args[1], call.args[2], call.args[3])

    broken = with_edited_calls(planned(), "relax.memory.alloc_storage", small)
    with pytest.raises(PlanError, match="of a storage of 128"):
        check_memory(broken, {"n": 5})


def test_results_do_not_live_in_a_shared_storage() -> None:
    mod = planned()
    func = mod["main"]
    first = next(
        binding.var
        for block in func.body.blocks
        for binding in block.bindings
        if binding.var.name == "alloc"
    )
    body = relax.SeqExpr(func.body.blocks, first)
    broken = mod.clone()
    broken.update_func(
        mod.get_global_var("main"),
        relax.Function(
            func.params, relax.BlockBuilder().normalize(body), func.ret_ty, False, func.attrs
        ),
    )
    with pytest.raises(PlanError, match="is returned and lives in a shared storage"):
        check_memory(broken, {"n": 5})


@I.ir_module
class Joined:
    @R.function(pure=False)
    def main(x: R.Tensor(("n", 16), "float32")):
        n = T.int64()
        arena = R.memory.alloc_storage(R.shape([16384]), 0, "global", "uint8")
        c = R.memory.alloc_tensor(arena, 0, R.shape([2 * n, 16]), "float32", 0)
        a = R.memory.view(c, R.shape([n, 16]), R.dtype("float32"), 0)
        _ = R.call_packed("fill", x, a, ty_args=R.Tuple())
        raw = R.memory.view(c, R.shape([n, 16]), R.dtype("float32"), n * 64)
        b = R.memory.ensure_zero_offset(raw)
        _1 = R.call_packed("fill", a, b, ty_args=R.Tuple())
        other = R.memory.alloc_tensor(arena, 8192, R.shape([2 * n, 16]), "float32", 0)
        _2 = R.call_packed("fill", c, other, ty_args=R.Tuple())
        d = R.builtin.alloc_tensor(R.shape([2 * n, 16]), R.dtype("float32"), 0)
        _3 = R.call_packed("fill", other, d, ty_args=R.Tuple())
        return d


def viewed(offset: int):
    def edit(number: int, call: relax.Call) -> relax.Call:
        if number == 0:
            return call
        return relax.op.memory.view(call.args[0], call.args[1], "float32", offset)

    return edit


def test_views_lie_within_what_they_view() -> None:
    for n in (0, 1, 7, 64):
        check_memory(Joined, {"n": n})


def test_views_of_the_same_bytes_overlap() -> None:
    broken = with_edited_calls(Joined, "relax.memory.view", viewed(256))
    check_memory(broken, {"n": 4})
    with pytest.raises(PlanError, match=r"a and raw are both alive at .* share bytes 256 to 320"):
        check_memory(broken, {"n": 5})


def test_views_do_not_reach_beyond_what_they_view() -> None:
    broken = with_edited_calls(Joined, "relax.memory.view", viewed(512))
    with pytest.raises(PlanError, match="raw views bytes 512 to 768 of c, which has 0 to 512"):
        check_memory(broken, {"n": 4})


def test_views_begin_at_multiples_of_a_cache_line() -> None:
    broken = with_edited_calls(Joined, "relax.memory.view", viewed(32))
    with pytest.raises(PlanError, match="raw views bytes 32 to"):
        check_memory(broken, {"n": 4})


def test_a_view_keeps_others_out_of_its_bytes() -> None:
    def near(number: int, call: relax.Call) -> relax.Call:
        storage, offset, shape, dtype, device = call.args
        place = 64 if number == 1 else offset
        return relax.op.memory.alloc_tensor(storage, place, shape, dtype, device)

    broken = with_edited_calls(Joined, "relax.memory.alloc_tensor", near)
    with pytest.raises(PlanError, match="are both alive at"):
        check_memory(broken, {"n": 4})
