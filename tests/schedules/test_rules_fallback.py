"""What the rules refuse keeps its loops, and stays right."""

import numpy as np
import pytest
import tvm
import tvm_ffi
from rules_cases import TRAITS, compiled, dims, fused, ruled_by, schedule, tensor
from tvm import relax
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from tvm_sod2.schedules.rules.reading import read_program
from tvm_sod2.schedules.rules.rows import schedule_rows

op = relax.op
n, h, w = dims("nhw")


@T.prim_func(s_tir=True)
def scan(x: T.Buffer((16,), "float32"), y: T.Buffer((16,), "float32")):
    for i in range(16):
        with T.sblock("scan"):
            v = T.axis.spatial(16, i)
            y[v] = T.if_then_else(v > 0, y[v - 1], T.float32(0)) + x[v]


@T.prim_func(s_tir=True)
def two_writers(x: T.Buffer((16,), "float32"), y: T.Buffer((16,), "float32")):
    for i in range(16):
        with T.sblock("first"):
            v = T.axis.spatial(16, i)
            y[v] = x[v]
    for i in range(8):
        with T.sblock("second"):
            v = T.axis.spatial(8, i)
            y[v] = x[v] * T.float32(2)


@T.prim_func(s_tir=True)
def predicated(x: T.Buffer((16,), "float32"), y: T.Buffer((16,), "float32")):
    for i, j in T.grid(4, 5):
        with T.sblock("part"):
            v = T.axis.spatial(16, i * 5 + j)
            T.where(i * 5 + j < 16)
            y[v] = x[v]


@T.prim_func(s_tir=True)
def scheduled(x: T.Buffer((16,), "float32"), y: T.Buffer((16,), "float32")):
    for i in T.parallel(16):
        with T.sblock("part"):
            v = T.axis.spatial(16, i)
            y[v] = x[v]


@T.prim_func(s_tir=True)
def imperative(x: T.Buffer((16,), "float32"), y: T.Buffer((16,), "float32")):
    with T.sblock("root"):
        T.reads()
        T.writes()
        for i in range(16):
            y[i] = x[15 - i]


@pytest.mark.parametrize("func", [scan, two_writers, predicated, scheduled, imperative])
def test_unreadable_functions_are_kept(func: PrimFunc) -> None:
    assert read_program(func) is None
    assert ruled_by(func) == "keep_loops"
    assert tvm_ffi.structural_equal(schedule(func), func)


def test_kept_functions_still_run() -> None:
    x = np.arange(16, dtype=np.float32)
    for func, expected in (
        (scan, np.cumsum(x)),
        (two_writers, np.where(np.arange(16) < 8, 2 * x, x)),
        (predicated, x),
        (imperative, x[::-1]),
    ):
        module = compiled(schedule(func.with_attr("global_symbol", "main")))
        out = tvm.runtime.tensor(np.zeros(16, np.float32))
        module["main"](tvm.runtime.tensor(x), out)
        np.testing.assert_array_equal(out.numpy(), expected)


def test_scatter_is_kept() -> None:
    func = fused(
        [tensor(n, w), tensor(h, w, dtype="int64"), tensor(h, w)],
        lambda bb, x, i, u: op.scatter_elements(x, i, u),
    )
    assert ruled_by(func) == "keep_loops"


def test_rows_refuse_single_stages_and_strangers() -> None:
    single = fused([tensor(n, w)], lambda bb, x: op.nn.relu(x))
    assert schedule_rows(single, TRAITS) is None
    reduction = fused([tensor(n, w)], lambda bb, x: op.mean(x, axis=-1))
    assert schedule_rows(reduction, TRAITS) is None
    whole = fused([tensor(n, w)], lambda bb, x: op.divide(x, bb.emit(op.sum(x))))
    assert schedule_rows(whole, TRAITS) is None


def test_total_over_everything() -> None:
    func = fused([tensor(n, w)], lambda bb, x: op.divide(x, bb.emit(op.sum(x))))
    module = compiled(schedule(func))
    for shape in [(1, 1), (3, 17), (40, 64)]:
        x = np.random.default_rng(0).random(shape).astype(np.float32)
        out = tvm.runtime.tensor(np.zeros_like(x))
        module["main"](tvm.runtime.tensor(x), out)
        np.testing.assert_allclose(out.numpy(), x / x.astype(np.float64).sum(), rtol=1e-5)
