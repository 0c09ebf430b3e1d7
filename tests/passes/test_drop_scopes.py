"""topi's marks of sequences go before code generation, which warns of them."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import tirx

from tvm_sod2.passes.codegen import CompileKernels
from tvm_sod2.passes.drop_scopes import drop_scopes
from tvm_sod2.schedules.kernel import Code, f32
from tvm_sod2.schedules.traits import host_target


def marked(key: str) -> tirx.PrimFunc:
    """x = 1, under a mark."""
    x = tirx.decl_buffer([4], "float32", "x")
    code = Code()
    with code.loop(4, "i") as i:
        code.store(x, f32(1.0), i)
    body = tirx.AttrStmt(tirx.IntImm("int32", 0), key, tvm.ir.StringImm("seq"), code.body())
    func = tirx.PrimFunc([x], body)
    return func.with_attr({"global_symbol": "ones", "tirx.noalias": True})


def test_the_mark_goes_and_its_body_stays() -> None:
    func = drop_scopes(tvm.IRModule({"ones": marked("pragma_scope")}))["ones"]
    assert isinstance(func.body, tirx.For)


def test_other_marks_stay() -> None:
    func = drop_scopes(tvm.IRModule({"ones": marked("sod2.other")}))["ones"]
    assert isinstance(func.body, tirx.AttrStmt)


def test_code_generation_does_not_warn(capfd: pytest.CaptureFixture[str]) -> None:
    mod = CompileKernels(host_target())(tvm.IRModule({"ones": marked("pragma_scope")}))
    (library,) = mod.attrs["external_mods"]
    out = tvm.runtime.tensor(np.zeros(4, "float32"))
    library["ones"](out)
    np.testing.assert_array_equal(out.numpy(), np.ones(4))
    assert "Warning" not in capfd.readouterr().err
