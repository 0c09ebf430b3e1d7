"""Marks of topi's TIR builder that code generation does not know and would warn of."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx
from tvm_ffi import structural_map

_SCOPE = "pragma_scope"


@tirx.transform.prim_func_pass(opt_level=0, name="DropScopes")
def drop_scopes(
    func: tirx.PrimFunc, _mod: tvm.IRModule, _ctx: tvm.transform.PassContext
) -> tirx.PrimFunc:
    """``attr "pragma_scope": body`` becomes ``body``."""

    def body(node: tirx.AttrStmt) -> Any:
        return node.body if node.attr_key == _SCOPE else node

    return structural_map(func, [(tirx.AttrStmt, body)], order="post")
