"""Positions that only the run knows, checked where they are computed.

What uses a position takes it from the kernel that checked it, so no pass can drop the check.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx
from tvm.ir import Expr

from tvm_sod2.schedules.kernel import Code, i64


def place_kernel(message: str, behind: bool = False) -> tirx.PrimFunc:
    """(given, length, place): an int64 position of one element, counted from the front.

    A negative one counts from the end. ``behind``: the place behind the last element counts, too.
    Any other raises a ValueError with the message.
    """
    given, place = _vector("given", i64(1)), _vector("place", i64(1))
    length = tirx.Var("length", "int64")
    code = Code()
    index = given[i64(0)]
    last = length if behind else length - i64(1)
    code.add(_check(tirx.all(index >= -length, index <= last), message))
    code.store(place, tirx.Select(index < i64(0), index + length, index), 0)
    return _finished([given, length, place], code)


def ends_kernel(message: str) -> tirx.PrimFunc:
    """(sizes, whole, ends): where each of the parts of these sizes ends.

    Raises a ValueError with the message where one is negative or their sum is not the whole.
    """
    count, whole = tirx.Var("count", "int64"), tirx.Var("whole", "int64")
    sizes, ends = _vector("sizes", count), _vector("ends", count)
    code = Code()
    total = code.buffer(1, "total", "int64")
    code.store(total, i64(0), 0)
    with code.loop(count, "part") as part:
        code.add(_check(sizes[part] >= i64(0), message))
        code.store(total, total[i64(0)] + sizes[part], 0)
        code.store(ends, total[i64(0)], part)
    code.add(_check(tirx.EQ(total[i64(0)], whole), message))
    return _finished([sizes, whole, ends], code)


def count_kernel(message: str) -> tirx.PrimFunc:
    """(part, whole, count): how many parts of this size cover the whole; the last may be smaller.

    Raises a ValueError with the message where the size is not above 0.
    """
    part, count = _vector("part", i64(1)), _vector("count", i64(1))
    whole = tirx.Var("whole", "int64")
    code = Code()
    code.add(_check(part[i64(0)] > i64(0), message))
    code.store(count, (whole + part[i64(0)] - i64(1)) // part[i64(0)], 0)
    return _finished([part, whole, count], code)


def _vector(name: str, length: Any) -> Any:
    return tirx.decl_buffer([length], "int64", name, layout=None)


def _check(condition: Expr, message: str) -> tirx.Stmt:
    # TVM 0.27's Python names the first two the other way round than its C++ takes them.
    return tirx.AssertStmt(condition, tvm.ir.StringImm("ValueError"), [tvm.ir.StringImm(message)])


def _finished(params: list[Any], code: Code) -> tirx.PrimFunc:
    func = tirx.PrimFunc(params, code.body())
    return func.with_attrs({"tirx.is_scheduled": True, "sod2.kernel": "places"})
