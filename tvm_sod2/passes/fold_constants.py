"""Compute operators whose operands are all constants, at build.

    permute_dims(const)  ->  const

TVM's FoldConstant works on legalised kernels and would compile each; weights need only a few
movement and arithmetic operators, for which NumPy is exact and at hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tvm
from tvm import relax, tirx

from tvm_sod2.passes.mutate import map_functions

_Fold = Callable[..., "np.ndarray | None"]


def _dims(call: relax.Call) -> list[int]:
    return [int(d) for d in call.ty.shape.values]


def _quotient(_call: relax.Call, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    with np.errstate(all="ignore"):
        return x / y if x.dtype.kind == "f" else None


_FOLDS: dict[str, _Fold] = {
    "relax.permute_dims": lambda call, x: np.transpose(x, call.attrs.axes),
    "relax.reshape": lambda call, x, *_: x.reshape(_dims(call)),
    "relax.flatten": lambda call, x: x.reshape(_dims(call)),
    "relax.expand_dims": lambda call, x: x.reshape(_dims(call)),
    "relax.squeeze": lambda call, x: x.reshape(_dims(call)),
    "relax.broadcast_to": lambda call, x, *_: np.broadcast_to(x, _dims(call)),
    "relax.astype": lambda call, x: x.astype(str(call.attrs.dtype)),
    "relax.add": lambda _call, x, y: x + y,
    "relax.subtract": lambda _call, x, y: x - y,
    "relax.multiply": lambda _call, x, y: x * y,
    "relax.divide": _quotient,
    "relax.maximum": lambda _call, x, y: np.maximum(x, y),
    "relax.minimum": lambda _call, x, y: np.minimum(x, y),
    "relax.round": lambda _call, x: np.rint(x).astype(x.dtype),
    "relax.sqrt": lambda _call, x: np.sqrt(x),
    "relax.negative": lambda _call, x: -x,
}


MAX_ELEMENTS = 1 << 22
"""A result larger than this and than its operands stays an operator, not to bloat the library."""


def _fits(ty: tvm.ir.Type, most: int) -> bool:
    """Whether a result has constant dims and not more than so many elements."""
    if not isinstance(ty, relax.TensorType) or ty.shape is None:
        return False
    dims = list(ty.shape.values)
    if not all(isinstance(dim, tirx.IntImm) for dim in dims):
        return False
    return math.prod(map(int, dims)) <= most


def constant_array(expr: tvm.ir.Expr) -> np.ndarray | None:
    """The data of a tensor constant, or None for any other expression."""
    if isinstance(expr, tvm.ir.GenericConst) and isinstance(expr.ty, relax.TensorType):
        return expr.value.numpy()
    return None


@tvm.transform.module_pass(opt_level=0, name="FoldConstants")
def fold_constants(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Replace operators on constants by constants; what becomes unused is removed."""
    mod = map_functions(mod, lambda func: _Folder().visit_expr(func))
    return relax.transform.DeadCodeElimination()(mod)


@relax.expr_functor.mutator
class _Folder(relax.PyExprMutator):
    def __init__(self) -> None:
        super().__init__()
        self.constants: dict[tvm.ir.Var, tvm.ir.Expr] = {}

    def visit_dataflow_var_(self, op: relax.DataflowVar) -> tvm.ir.Expr:
        return self.constants[op] if op in self.constants else super().visit_dataflow_var_(op)

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        value = self.visit_expr(binding.value)
        folded = self._fold(value)
        if folded is None:
            super().visit_var_binding_(relax.VarBinding(binding.var, value))
        elif isinstance(binding.var, relax.DataflowVar):
            self.constants[binding.var] = folded
        else:
            super().visit_var_binding_(relax.VarBinding(binding.var, folded))

    def _fold(self, value: tvm.ir.Expr) -> tvm.ir.Expr | None:
        if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op):
            return None
        fold = _FOLDS.get(value.op.name)
        if fold is None:
            return None
        tensors = [a for a in value.args if not isinstance(a, relax.ShapeExpr)]
        known = [constant_array(argument) for argument in tensors]
        arrays = [array for array in known if array is not None]
        if len(arrays) < len(known):
            return None
        typed = self.builder_.normalize(value)
        if not _fits(typed.ty, max([MAX_ELEMENTS, *(array.size for array in arrays)])):
            return None
        result = fold(typed, *arrays)
        if result is None:
            return None
        # ascontiguousarray turns a scalar into a vector.
        whole = np.ascontiguousarray(result).reshape(np.shape(result))
        return relax.const(whole, str(typed.ty.dtype))
