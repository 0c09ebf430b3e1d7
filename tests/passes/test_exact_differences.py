"""Differences that TVM's simplifier would cancel become sums; others stay."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tvm
from tvm import tirx

from tvm_sod2.passes.exact_differences import exact_differences

Element = Callable[[tvm.ir.Expr, tvm.ir.Expr], tvm.ir.Expr]


def _kernel(value: Element, dtype: str = "float32") -> tvm.IRModule:
    a, b = (tirx.decl_buffer((8,), dtype, name) for name in "ab")
    i = tirx.Var("i", "int64")
    store = tirx.BufferStore(b, value(a[i], a[i + 1]), [i])
    loop = tirx.For(i, tirx.const(0, "int64"), tirx.const(7, "int64"), 0, store)
    return tvm.IRModule({"main": tirx.PrimFunc([a, b], loop)})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda x, y: x - x, "a[i] + a[i] * T.float32(-1.0)"),
        (lambda x, y: (x + y) - x, "a[i] + a[i + T.int64(1)] + a[i] * T.float32(-1.0)"),
        (
            lambda x, y: (x + 2.0) - 2.0,
            "a[i] + T.float32(2.0) + T.Mul(T.float32(2.0), T.float32(-1.0))",
        ),
        (lambda x, y: x - y, "a[i] - a[i + T.int64(1)]"),
        (lambda x, y: (x * y) - y, "a[i] * a[i + T.int64(1)] - a[i + T.int64(1)]"),
    ],
)
def test_what_would_cancel(before: Element, after: str) -> None:
    assert f"b[i] = {after}\n" in exact_differences(_kernel(before)).script() + "\n"


def test_whole_numbers_stay() -> None:
    mod = _kernel(lambda x, y: (x + y) - x, "int32")
    assert exact_differences(mod).script() == mod.script()
