"""Tasks as a function of their own, called once or forked by the work that the dims make."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import tirx
from tvm.tirx import ForKind
from tvm_ffi import structural_map, structural_walk

from tvm_sod2.passes.codegen import CompileKernels
from tvm_sod2.passes.fork import CHUNKS, ForkAboveGrain
from tvm_sod2.schedules.grain import FORK, GRAIN
from tvm_sod2.schedules.kernel import Code, f32, i64
from tvm_sod2.schedules.traits import host_target


def squares(work_per_task: int, tasks: int | None = None) -> tirx.PrimFunc:
    """y[t] = x[t] * x[t] + t, one task for each element."""
    n = tirx.Var("n", "int64") if tasks is None else i64(tasks)
    x, y = (tirx.decl_buffer([n], "float32", name) for name in "xy")
    code = Code()
    with code.tasks(n, "t", n * i64(work_per_task)) as t:
        code.store(y, x[t] * x[t] + tirx.Cast("float32", t), t)
    func = tirx.PrimFunc([x, y], code.body())
    return func.with_attr({"global_symbol": "squares", "tirx.noalias": True})


def forked(func: tirx.PrimFunc) -> tvm.IRModule:
    target = host_target()
    passes = [
        tirx.transform.BindTarget(target.with_host(target)),
        tirx.transform.FlattenBuffer(),
        tirx.transform.StmtSimplify(),
        ForkAboveGrain(target),
    ]
    return tvm.transform.Sequential(passes)(tvm.IRModule({"squares": func}))


def found(body: object, kind: type) -> list:
    nodes: list = []
    structural_walk(body, [(kind, nodes.append)])
    return nodes


def parallel(body: object) -> int:
    return sum(loop.kind == ForKind.PARALLEL for loop in found(body, tirx.For))


def test_the_tasks_are_written_once_and_the_dims_decide_how_they_are_called() -> None:
    mod = forked(squares(work_per_task=64))
    host, tasks = mod["squares"], mod["squares_kernel"]
    assert len(mod.functions) == 2
    assert [parallel(f.body) for f in (host, tasks)] == [1, 0]
    stored = [{str(s.buffer.dtype) for s in found(f.body, tirx.BufferStore)} for f in (host, tasks)]
    assert stored == [{"int64"}, {"float32"}]  # the host finds out each thread's part
    choice = next(c for c in found(host.body, tirx.IfThenElse) if c.else_case is not None)
    assert (parallel(choice.then_case), parallel(choice.else_case)) == (1, 0)
    assert not any(node.attr_key == FORK for node in found(host.body, tirx.AttrStmt))


def test_one_task_is_work_for_one_thread() -> None:
    host = forked(squares(work_per_task=GRAIN))["squares"]
    choice = next(c for c in found(host.body, tirx.IfThenElse) if c.else_case is not None)

    def forks(size: int) -> bool:
        known = [(tirx.Var, lambda _: tirx.IntImm("int64", size))]
        return bool(tvm.sym.Analyzer().simplify(structural_map(choice.condition, known)))

    assert [forks(0), forks(1), forks(2)] == [False, False, True]


@pytest.mark.parametrize(("tasks", "forks"), [(GRAIN // 64 - 1, 0), (GRAIN // 64, 1)])
def test_constant_work_leaves_no_choice(tasks: int, forks: int) -> None:
    host = forked(squares(64, tasks))["squares"]
    assert parallel(host.body) == forks
    assert all(choice.else_case is None for choice in found(host.body, tirx.IfThenElse))


@pytest.mark.parametrize("work_per_task", [1, GRAIN])
def test_a_task_may_have_buffers_that_are_too_large_for_the_stack(work_per_task: int) -> None:
    n, size = tirx.Var("n", "int64"), 3000
    y = tirx.decl_buffer([n], "float32", "y")
    code = Code()
    with code.tasks(n, "t", n * i64(work_per_task)) as t:
        scratch = code.buffer(size, "scratch")
        with code.loop(size, "i") as i:
            code.store(scratch, tirx.Cast("float32", t + i), i)
        code.store(y, scratch[i64(size - 1)], t)
    func = tirx.PrimFunc([y], code.body()).with_attr({"global_symbol": "last"})
    mod = tvm.IRModule({"last": func.with_attr("tirx.noalias", True)})
    (library,) = CompileKernels(host_target())(mod).attrs["external_mods"]
    out = tvm.runtime.tensor(np.zeros(70, "float32"))
    library["last"](out)
    np.testing.assert_array_equal(out.numpy(), np.arange(70) + size - 1)


def test_tasks_may_hold_copies_of_a_let() -> None:
    n = tirx.Var("n", "int64")
    x, y = (tirx.decl_buffer([n], "float32", name) for name in "xy")
    twice = tirx.Var("twice", "float32")

    def doubled(value: object) -> object:
        return tirx.Let(twice, value + value, twice * twice)

    code = Code()
    with code.tasks(n, "t", n) as t:
        code.store(y, doubled(x[t]) + doubled(x[t] + f32(1.0)), t)
    func = tirx.PrimFunc([x, y], code.body()).with_attr({"global_symbol": "lets"})
    mod = tvm.IRModule({"lets": func.with_attr("tirx.noalias", True)})
    (library,) = CompileKernels(host_target())(mod).attrs["external_mods"]
    data = np.arange(5, dtype="float32")
    out = tvm.runtime.tensor(np.zeros(5, "float32"))
    library["lets"](tvm.runtime.tensor(data), out)
    np.testing.assert_array_equal(out.numpy(), 4 * data**2 + 4 * (data + 1) ** 2)


@pytest.mark.parametrize("work_per_task", [1, GRAIN])
def test_every_task_runs_once(work_per_task: int) -> None:
    mod = tvm.IRModule({"squares": squares(work_per_task)})
    (library,) = CompileKernels(host_target())(mod).attrs["external_mods"]
    for n in (0, 1, 2, 3, CHUNKS - 1, CHUNKS, CHUNKS + 1, 3 * CHUNKS + 5, 1009):
        x = np.arange(n, dtype="float32") / 7
        y = tvm.runtime.tensor(np.full(n, np.nan, "float32"))
        library["squares"](tvm.runtime.tensor(x), y)
        np.testing.assert_allclose(y.numpy(), x * x + np.arange(n), rtol=1e-6)


@pytest.mark.parametrize("work_per_task", [1, GRAIN])
def test_each_thread_prepares_once_for_its_part(work_per_task: int) -> None:
    """y[t] is where the part of t begins, z[t] the number of tasks before t in it."""
    n = tirx.Var("n", "int64")
    y, z = (tirx.decl_buffer([n], "int64", name) for name in "yz")
    code = Code()
    with code.parts(n, "t", n * i64(work_per_task)) as (begin, end):
        before = code.buffer(1, "before", "int64")
        code.store(before, i64(0), 0)
        with code.loop(end - begin, "i") as i:
            code.store(y, begin, begin + i)
            code.store(z, before[i64(0)], begin + i)
            code.store(before, before[i64(0)] + i64(1), 0)
    func = tirx.PrimFunc([y, z], code.body()).with_attr({"global_symbol": "parts"})
    mod = tvm.IRModule({"parts": func.with_attr("tirx.noalias", True)})
    (library,) = CompileKernels(host_target())(mod).attrs["external_mods"]
    for size in (0, 1, 2, 5, 1009):
        out = [tvm.runtime.tensor(np.full(size, -1, "int64")) for _ in range(2)]
        library["parts"](*out)
        begins, before_t = (tensor.numpy() for tensor in out)
        np.testing.assert_array_equal(begins + before_t, np.arange(size))
        threads = tvm.get_global_func("runtime.NumThreads")()
        parts = min(size, threads) if work_per_task == GRAIN else min(size, 1)
        assert len(set(begins.tolist())) == parts
