"""Loads of every k-th element, and backwards, as shuffles of whole vectors."""

import numpy as np
import pytest
import tvm
from tvm import s_tir, tirx
from tvm.tirx import BufferLoad, BufferStore, For, ForKind, IntImm

from tvm_sod2.passes.codegen import _build
from tvm_sod2.passes.strided_loads import STEPS, strided_loads
from tvm_sod2.schedules.traits import host_target


def gathered(step: int, lanes: int, dtype: str) -> tirx.PrimFunc:
    """y[i] = x[i * step], or from the end of x for a negative step."""
    length = abs(step) * (lanes - 1) + 1
    x = tirx.decl_buffer((IntImm("int64", length),), dtype, "x")
    y = tirx.decl_buffer((IntImm("int64", lanes),), dtype, "y")
    lane = tirx.Var("lane", "int64")
    first = IntImm("int64", length - 1 if step < 0 else 0)
    load = BufferLoad(x, [first + lane * IntImm("int64", step)])
    store = BufferStore(y, load, [lane])
    zero, extent = IntImm("int64", 0), IntImm("int64", lanes)
    func = tirx.PrimFunc([x, y], For(lane, zero, extent, ForKind.VECTORIZED, store))
    return func.with_attr("global_symbol", "main").with_attr("tirx.noalias", True)


def rewritten(func: tirx.PrimFunc) -> str:
    mod = tirx.transform.VectorizeLoop(True)(tvm.IRModule({"main": func}))
    return strided_loads(s_tir.transform.StmtSimplify()(mod)).script()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("lanes", [2, 4, 16])
@pytest.mark.parametrize("dtype", ["float32", "int8", "int64"])
def test_numbers(step: int, lanes: int, dtype: str) -> None:
    """Of an input that ends with the last element wanted."""
    func = gathered(step, lanes, dtype)
    assert "Shuffle" in rewritten(func) and f", {step}, {lanes})" not in rewritten(func)
    built = _build({tvm.ir.GlobalVar("main"): func}, host_target())
    x = np.arange(abs(step) * (lanes - 1) + 1).astype(dtype)
    y = tvm.runtime.tensor(np.zeros(lanes, dtype))
    built["main"](tvm.runtime.tensor(x), y)
    np.testing.assert_array_equal(y.numpy(), x[::step])


@pytest.mark.parametrize("step", [-2, 1, 5])
def test_other_steps_stay(step: int) -> None:
    assert "Shuffle" not in rewritten(gathered(step, 8, "float32"))


def test_booleans_stay() -> None:
    """TVM packs vectors of them into bits."""
    assert "Shuffle" not in rewritten(gathered(2, 8, "bool"))
