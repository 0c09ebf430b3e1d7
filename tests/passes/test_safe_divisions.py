"""No dim that is 0 ends the process: the check says what must not be."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tvm
import tvm_ffi
from tvm import relax, tirx

import tvm_sod2
from tvm_sod2.passes.safe_divisions import safe_divisions


def test_dims_in_host_functions_and_data_in_kernels_are_guarded() -> None:
    heap = tirx.decl_buffer((2,), "int64", "heap")
    one = tirx.const(1, "int64")
    value = tirx.FloorDiv(heap[0], heap[1]) + tirx.FloorDiv(heap[0], tirx.const(2, "int64"))
    func = tirx.PrimFunc([heap], tirx.BufferStore(heap, value, [one]))
    host = func.with_attr({"tirx.is_host_func": True})
    after = safe_divisions(tvm.IRModule({"kernel": func, "host": host}))
    kernel = after["kernel"].body.value
    safe = tirx.Select(tirx.Or(heap[1] == 0, heap[1] == tirx.const(-1, "int64")), one, heap[1])
    turned = tirx.const(0, "int64") - heap[0]
    quotient = tirx.Select(heap[1] == tirx.const(-1, "int64"), turned, tirx.FloorDiv(heap[0], safe))
    tvm.ir.assert_structural_equal(kernel.a, quotient)
    assert kernel.b.same_as(value.b)
    (division,) = _divisors(after["host"])
    assert isinstance(division, tirx.Max)


def _divisors(func: tirx.PrimFunc) -> list[tvm.ir.Expr]:
    found: list[tirx.FloorDiv] = []
    tvm_ffi.structural_walk(func, (tirx.FloorDiv, found.append))
    return [division.b for division in found if not isinstance(division.b, tirx.IntImm)]


def test_a_dim_of_0_is_refused() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18]>
        g (float[n,m] x, float[k] z) => (float[a,b,c] y) <int64[2] rest = {-1, 1}> {
            s = Shape(z)  t = Concat<axis = 0>(s, rest)  y = Reshape(x, t)
        }"""
    )
    run = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(model)), tvm.cpu())["main"]
    x = tvm.runtime.tensor(np.ones((2, 6), "float32"))
    assert run(x, tvm.runtime.tensor(np.ones(3, "float32"))).shape == (3, 4, 1)
    with pytest.raises(ValueError, match="a dim of the new shape is k, which must not be 0"):
        run(x, tvm.runtime.tensor(np.ones(0, "float32")))
