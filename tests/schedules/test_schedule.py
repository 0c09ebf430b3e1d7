"""The pass: packing at call sites, merging, fallbacks, other machines' tiles."""

import numpy as np
import pytest
import tvm
from kernel_cases import (
    Case,
    Compiled,
    choices,
    close,
    conv2d,
    dims,
    fused,
    random,
    scheduled,
    tensor,
)
from tvm import relax, tirx
from tvm_ffi import structural_walk

from tvm_sod2.errors import BuildError
from tvm_sod2.schedules import schedule as schedule_module
from tvm_sod2.schedules.legalize import LEGALIZE
from tvm_sod2.schedules.schedule import ScheduleKernels, choose, constant_arguments
from tvm_sod2.schedules.traits import Traits

op = relax.op

AVX2 = Traits(32, 16, True, 32 << 10, 256 << 10, 2)
SSE = Traits(16, 16, False, 32 << 10, 256 << 10, 2)


def _matmul(n: int, factor: float = 1.0) -> Case:
    (m,) = dims("m")
    return Case(lambda x, w: op.matmul(x, w), [tensor(m, 8)], [random(8, n) * np.float32(factor)])


def _prim_funcs(mod: tvm.IRModule) -> list[tirx.PrimFunc]:
    return [f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc)]


def test_equal_groups_share_one_kernel_and_keep_their_weights() -> None:
    run = Compiled({"a": _matmul(16), "b": _matmul(16, 2.0), "c": _matmul(17)})
    assert len(run.choices) == 2
    x = random(5, 8)
    close(run("a", x), x.astype(float) @ random(8, 16))
    close(run("b", x), x.astype(float) @ random(8, 16) * 2)


def test_every_function_is_marked_and_explained() -> None:
    mod = scheduled({"a": _matmul(16), "b": Case(op.nn.relu, [tensor(3, 4)])})
    assert all(f.attrs["tirx.is_scheduled"] for f in _prim_funcs(mod))
    told = choices(mod)
    assert told["a_group"].startswith("gemm ")
    assert told["b_group"].endswith("not emitted: no single anchor")


def test_a_weight_passed_as_argument_anywhere_stays_unpacked() -> None:
    (m,) = dims("m")
    bb = relax.BlockBuilder()
    types = [tensor(m, 8), tensor(8, 16)]
    params = [relax.Var("x", types[0]), relax.Var("w", types[1])]
    with bb.function("group", params, private=True, attrs={"Primitive": True}):
        with bb.dataflow():
            out = bb.emit_output(op.matmul(*params))
        bb.emit_func_output(out)
    group = bb.get().get_global_var("group")
    x, w = relax.Var("x", types[0]), relax.Var("w", types[1])
    with bb.function("main", [x, w]):
        with bb.dataflow():
            one = bb.emit(relax.Call(group, [x, relax.const(random(8, 16))]))
            two = bb.emit(relax.Call(group, [x, w]))
            out = bb.emit_output(op.add(one, two))
        bb.emit_func_output(out)
    mod = relax.transform.FuseTIR()(relax.transform.LegalizeOps(LEGALIZE)(bb.get()))
    (found,) = (c for v, c in constant_arguments(mod).items() if v.name_hint == "group")
    assert found == frozenset()
    assert "run-time gemm" in choices(ScheduleKernels(AVX2)(mod))["group"]


def test_other_uses_of_a_kernel_follow_it() -> None:
    """`call_tir_inplace` names its PrimFunc as `call_tir` does, but is not looked into."""
    mod = fused({name: Case(op.nn.relu, [tensor(*dims("m"), 8)]) for name in ("a", "b")})
    (m,) = dims("m")
    users = [v for v in mod.get_global_vars() if v.name_hint.endswith("_group")]
    bb = relax.BlockBuilder(mod)
    x = relax.Var("x", tensor(m, 8))
    with bb.function("main", [x]):
        outs = [
            bb.emit(op.call_tir_inplace(user, [op.add(x, x)], [0], tensor(m, 8))) for user in users
        ]
        bb.emit_func_output(relax.Tuple(outs))
    done = ScheduleKernels(AVX2)(bb.get())
    used: list[tvm.ir.GlobalVar] = []
    structural_walk(done["main"], [(tvm.ir.GlobalVar, used.append)])
    assert len(choices(done)) == 1
    assert len(used) == 2 and all(var in done.get_global_vars() for var in used)


def test_no_rule_is_an_error_that_names_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_module, "RULES", [])
    (func,) = _prim_funcs(fused({"lonely": Case(op.nn.relu, [tensor(3, 4)])}))
    with pytest.raises(BuildError, match="no kernel for lonely: no schedule rule applies"):
        choose("lonely", func, frozenset(), AVX2)


@pytest.mark.parametrize("traits", [AVX2, SSE], ids=["avx2", "sse"])
def test_tiles_of_other_machines(traits: Traits) -> None:
    """Their vectors are shorter than this machine's, so they run here as well."""
    (m,) = dims("m")
    n, h, w = dims("n h w")
    kernel, depthwise, up = random(11, 3, 3, 5), random(11, 3, 3, 1), random(5, 11, 2, 2)
    wide = random(21, 3, 3, 19)

    def conv(x: relax.Expr, k: relax.Expr, groups: int = 1) -> relax.Expr:
        return op.nn.conv2d(
            x, k, padding=(1, 1), groups=groups, data_layout="NHWC", kernel_layout="OHWI"
        )

    run = Compiled(
        {
            "gemm": Case(lambda x, k: op.matmul(x, k), [tensor(m, 9)], [random(9, 29)]),
            "pair": Case(lambda x, y: op.matmul(x, y), [tensor(m, 9), tensor(9, m)]),
            "conv": Case(conv, [tensor(n, h, w, 5)], [kernel]),
            "winograd": Case(conv, [tensor(n, h, w, 19)], [wide]),
            "depthwise": Case(lambda x, k: conv(x, k, 11), [tensor(n, h, w, 11)], [depthwise]),
            "up": Case(
                lambda x, k: op.nn.conv2d_transpose(x, k, strides=(2, 2), data_layout="NHWC"),
                [tensor(n, h, w, 5)],
                [up],
            ),
        },
        traits,
    )
    assert not any("rule" in choice for choice in run.choices.values())
    for rows in (1, 5, 6, 7, 13):
        x, y = random(rows, 9), random(9, rows)
        close(run("gemm", x), x.astype(float) @ random(9, 29))
        close(run("pair", x, y), x.astype(float) @ y)
    pads = (1, 1, 1, 1)
    for image in ((1, 1, 1), (2, 5, 17)):
        x, deep = random(*image, 5), random(*image, 11)
        close(run("conv", x), conv2d(x, kernel, padding=pads))
        many = random(*image, 19)
        close(run("winograd", many), conv2d(many, wide, padding=pads))
        close(run("depthwise", deep), conv2d(deep, depthwise, padding=pads, groups=11))
        assert run("up", x).shape == (image[0], image[1] * 2, image[2] * 2, 11)
