"""Chains of lets become one-slot buffers; short ones and guarded ones stay."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.relax import op

import tvm_sod2
from tvm_sod2.passes.unchain_lets import unchain_lets


def _store(value: tvm.ir.Expr, lanes: int) -> tirx.PrimFunc:
    """A function that stores `value` in its only buffer."""
    target = tirx.decl_buffer([lanes], "float32", "B")
    zero = tirx.IntImm("int64", 0)
    index = zero if lanes == 1 else tirx.Ramp(zero, tirx.IntImm("int64", 1), lanes)
    return tirx.PrimFunc([target], tirx.BufferStore(target, value, [index]))


def _chain(length: int, lanes: int) -> tvm.ir.Expr:
    """t + t of the one before, `length` lets in one another's values."""
    dtype = "float32" if lanes == 1 else f"float32x{lanes}"
    one = tirx.const(1.0, "float32")
    value: tvm.ir.Expr = one if lanes == 1 else tirx.Broadcast(one, lanes)
    for _ in range(length):
        var = tirx.Var("t", dtype)
        value = tirx.Let(var, value, var + var)
    return value


def _count(func: tirx.PrimFunc, kind: type) -> int:
    found: list[object] = []
    tvm_ffi.structural_walk(func.body, [(kind, found.append)])
    return len(found)


def _after(func: tirx.PrimFunc) -> tirx.PrimFunc:
    return unchain_lets(tvm.IRModule({"main": func}))["main"]


@pytest.mark.parametrize("lanes", [1, 16])
def test_a_long_chain_becomes_stores_in_the_order_of_its_values(lanes: int) -> None:
    after = _after(_store(_chain(10, lanes), lanes))
    assert _count(after, tirx.Let) == 0
    assert _count(after, tirx.AllocBuffer) == 10
    steps = list(after.body.seq)
    stored: list[tirx.Buffer] = []
    for step in steps:
        if isinstance(step, tirx.BufferStore):
            read: list[tvm.ir.TensorLoad] = []
            tvm_ffi.structural_walk(step.value, [(tvm.ir.TensorLoad, read.append)])
            assert all(any(load.source.same_as(slot) for slot in stored) for load in read)
            stored.append(step.buffer)
    assert len(stored) == 11


def test_a_short_chain_stays() -> None:
    before = _store(_chain(9, 16), 16)
    assert tvm_ffi.structural_equal(_after(before), before)


def test_what_only_a_branch_may_compute_stays_in_it() -> None:
    condition = tirx.Var("c", "bool")
    guarded = tirx.if_then_else(condition, _chain(10, 1), tirx.const(0.0, "float32"))
    before = _store(guarded, 1)
    assert tvm_ffi.structural_equal(_after(before), before)


def _of_a_cast(lanes: int) -> tirx.PrimFunc:
    """A let of a comparison as a number."""
    dtype = "float32" if lanes == 1 else f"float32x{lanes}"
    given = tirx.Var("g", dtype)
    cast = tirx.Cast(dtype, given < tirx.const(1.0, dtype))
    var = tirx.Var("t", dtype)
    return _store(tirx.Let(var, cast, var + var), lanes)


def test_a_comparison_of_vectors_becomes_a_choice() -> None:
    after = _after(_of_a_cast(8))
    assert (_count(after, tirx.Cast), _count(after, tirx.Select)) == (0, 1)
    assert _count(after, tirx.Let) == 1


def test_a_comparison_of_scalars_stays() -> None:
    before = _of_a_cast(1)
    assert tvm_ffi.structural_equal(_after(before), before)


@pytest.mark.parametrize("size", [0, 1, 17, 100])
def test_softplus_in_tanh_of_rounded_numbers(size: int) -> None:
    builder, n = relax.BlockBuilder(), tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType((n,), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            rounded = builder.emit(op.round(x))
            softplus = op.log(op.add(op.exp(rounded), relax.const(1.0)))
            out = builder.emit_output(op.multiply(rounded, op.tanh(softplus)))
        builder.emit_func_output(out)
    run = relax.VirtualMachine(tvm_sod2.build(builder.get()), tvm.cpu())["main"]
    data = np.random.default_rng(size).uniform(-9, 9, size).astype("float32")
    whole = np.round(data).astype("float64")
    want = whole * np.tanh(np.log1p(np.exp(whole)))
    found = run(tvm.runtime.tensor(data)).numpy()
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("operator", ["Exp", "Tanh", "Sin", "Cos"])
@pytest.mark.parametrize("guard", ["", "h = Pad(g, one_one)", "h = Concat<axis = 0>(g, x)"])
def test_integers_divided_by_a_run_time_number(operator: str, guard: str) -> None:
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 18]>
        windows (int64 n, float[m] x) => (float[k] y)
        <int64 zero = {{0}}, int64 one = {{1}}, int64[2] one_one = {{1, 1}}> {{
            r = Range(zero, n, one)  f = Cast<to = 1>(r)  q = Cast<to = 1>(n)  g = Div(f, q)
            {guard or "h = Identity(g)"}  y = {operator}(h)
        }}"""
    )
    main = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(model)), tvm.cpu())["main"]
    for n in (1, 7, 16, 33):
        x = np.linspace(-1, 1, n, dtype="float32")
        g = np.arange(n, dtype="float32") / np.float32(n)
        h = {"P": np.pad(g, 1), "C": np.concatenate([g, x])}.get(guard[4:5], g)
        given = tvm.runtime.tensor(np.asarray(n, "int64")), tvm.runtime.tensor(x)
        expected = getattr(np, operator.lower())(h.astype("float64"))
        np.testing.assert_allclose(main(*given).numpy(), expected, rtol=1e-6, atol=1e-7)
