"""Gathers and scatters where TVM's own legalisation does not serve."""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import relax, te, tirx


def gather_elements(bb: relax.BlockBuilder, call: Any) -> Any:
    """relax.gather_elements; TVM's refuses indices of no entry."""
    axis = int(call.attrs.axis) % call.args[0].ty.ndim

    def compute(data: te.Tensor, indices: te.Tensor) -> te.Tensor:
        def element(*index: Any) -> Any:
            return data(*(indices(*index) if a == axis else i for a, i in enumerate(index)))

        return te.compute(indices.shape, element, name="gather_elements")

    return bb.call_te(compute, *call.args, primfunc_name_hint="gather_elements")


def scatter(bb: relax.BlockBuilder, call: Any) -> Any:
    """relax.scatter_elements and scatter_nd as TVM's kernels, on buffers without an offset.

    TVM gives each operand an offset of its own. FuseTIR then refuses a tensor that is read twice,
    as two operands or by another operator of the group, for its buffers differ.
    """
    made = call.op.get_attr("FLegalize")(bb, call)
    gvar = made.args[0]
    func = bb.get()[gvar]
    plain = {param: _plain(param) for param in func.params}
    body = tvm_ffi.structural_map(func.body, (tirx.Var, lambda var: plain.get(var, var)))
    bb.update_func(gvar, tirx.PrimFunc(list(plain.values()), body, func.ret_type, func.attrs))
    return made


def _plain(param: Any) -> Any:
    buffer = param.ty
    return tirx.decl_buffer(buffer.shape, buffer.dtype, param.name, layout=None)
