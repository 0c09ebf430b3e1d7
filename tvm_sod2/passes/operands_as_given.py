"""Kernels take operands as callers have them: at any address, and without a second look at strides.

    attr(x, "storage_alignment", 64)
    if not isnullptr(x_strides):
        assert x_strides[1] == 1 and x_strides[0] == m, "... expected to be compact array"

`MakePackedAPI` writes this for each operand. NumPy aligns to 16 bytes, and a view to no more than
an entry: an instruction that takes 64 for granted would end the process, one that does not is as
fast where the memory is aligned. `check_arguments` has refused every other order in memory before,
and what is allocated here is compact; only strides of a tensor without an entry may be anything,
which NumPy makes use of and this check would refuse.
"""

from __future__ import annotations

import tvm
from tvm import tirx
from tvm_ffi import structural_map

_WORDS = "expected to be compact array"
_ALIGNMENT = "storage_alignment"


@tirx.transform.prim_func_pass(opt_level=0, name="OperandsAsGiven")
def operands_as_given(
    func: tirx.PrimFunc, _mod: tvm.IRModule, _ctx: tvm.transform.PassContext
) -> tirx.PrimFunc:
    """The packed function without both. Runs directly behind MakePackedAPI."""
    return structural_map(func, [(tirx.AssertStmt, _check), (tirx.AttrStmt, _mark)], order="post")


def _check(check: tirx.AssertStmt) -> tirx.Stmt:
    parts = check.message_parts
    return tirx.Evaluate(0) if parts and str(parts[-1].value).endswith(_WORDS) else check


def _mark(mark: tirx.AttrStmt) -> tirx.Stmt:
    return mark.body if mark.attr_key == _ALIGNMENT else mark
