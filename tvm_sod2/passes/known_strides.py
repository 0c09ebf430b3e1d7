"""Kernels do not look at the strides of their operands: what comes from a caller was looked at.

    if not isnullptr(x_strides):
        assert x_strides[1] == 1 and x_strides[0] == m, "... expected to be compact array"

`MakePackedAPI` writes this for each operand. `check_arguments` has refused every other order in
memory before, and what is allocated here is compact. Only strides of a tensor without an entry
may be anything, which NumPy makes use of, and this check would refuse.
"""

from __future__ import annotations

import tvm
from tvm import tirx
from tvm_ffi import structural_map

_WORDS = "expected to be compact array"


@tirx.transform.prim_func_pass(opt_level=0, name="KnownStrides")
def known_strides(
    func: tirx.PrimFunc, _mod: tvm.IRModule, _ctx: tvm.transform.PassContext
) -> tirx.PrimFunc:
    """The packed function without the checks of strides. Runs behind MakePackedAPI."""
    return structural_map(func, [(tirx.AssertStmt, _unless_of_strides)])


def _unless_of_strides(check: tirx.AssertStmt) -> tirx.Stmt:
    parts = check.message_parts
    return tirx.Evaluate(0) if parts and str(parts[-1].value).endswith(_WORDS) else check
