"""bfloat16 elements are widened by bits, so that lets hold what they should."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import tvm
from tvm import relax, tirx
from tvm.relax import op
from tvm.script import ir as I
from tvm.script import tirx as T

import tvm_sod2
from tvm_sod2.passes.widen_bfloat16 import widen_bfloat16


@I.ir_module
class Casts:
    @T.prim_func(s_tir=True)
    def main(a: T.Buffer((4,), "bfloat16"), b: T.Buffer((4,), "int16"), c: T.Buffer((4,))):
        for i in range(4):
            c[i] = T.Cast("float32", a[i]) + T.Cast("float32", b[i])


def test_casts_of_bfloat16_alone_are_rewritten() -> None:
    value = widen_bfloat16(Casts)["main"].body.body.value
    wide, narrow = value.a, value.b
    assert wide.op.name == "tirx.reinterpret" and str(wide.ty.dtype) == "float32"
    assert isinstance(narrow, tirx.Cast) and str(narrow.value.ty.dtype) == "int16"


@pytest.mark.parametrize("function", [op.exp, op.tanh, op.sqrt])
def test_functions_of_widened_elements(function: object) -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType([T.Var("n", "int64"), 33], "bfloat16"))
    with builder.function("main", [x]):
        with builder.dataflow():
            y = builder.emit_output(function(builder.emit(op.astype(x, "float32"))))  # type: ignore[operator]
        builder.emit_func_output(y)
    vm = relax.VirtualMachine(tvm_sod2.build(builder.get()), tvm.cpu())
    given = np.random.default_rng(0).uniform(0, 2, (3, 33)).astype(ml_dtypes.bfloat16)
    numpy = {op.exp: np.exp, op.tanh: np.tanh, op.sqrt: np.sqrt}[function]  # type: ignore[index]
    found = vm["main"](tvm.runtime.tensor(given)).numpy()
    np.testing.assert_allclose(found, numpy(given.astype("float64")), rtol=1e-6)
