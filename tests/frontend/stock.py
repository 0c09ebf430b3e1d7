"""Runs an imported module with TVM's stock pipeline, as an independent check of the importer alone.

The stock pipeline cannot compile an elementwise operator whose operands' dims are not provably
equal (tvm_sod2's own passes prove or legalise these), and takes for granted that a `broadcast_to`
stretches only dims known to be 1. Here a kernel that decides at run time stretches such operands.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax, te, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator


@mutator
class _StretchOperands(PyExprMutator):
    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        ty = call.ty
        if call.op.name == "relax.broadcast_to":
            return self._stretch(call.args[0], list(call.args[1].ty.values))
        lost = isinstance(ty, relax.TensorType) and ty.shape is None and call.op.name in _BROADCAST
        if not lost:
            return call
        shapes = [list(arg.ty.shape.values) for arg in call.args]
        if call.op.name == "relax.matmul":
            tails = [shape[-2:] for shape in shapes]
            shapes = [shape[:-2] for shape in shapes]
        else:
            tails = [[] for _ in shapes]
        common = _common(shapes)
        args = [
            self.builder_.emit(self._stretch(arg, [*common, *tail]))
            for arg, tail in zip(call.args, tails, strict=True)
        ]
        return relax.Call(call.op, args, call.attrs)

    def _stretch(self, arg: relax.Expr, dims: Sequence[Any]) -> relax.Expr:
        def compute(x: te.Tensor) -> te.Tensor:
            shift = len(dims) - len(x.shape)

            def element(*index: tirx.Var) -> tirx.PrimExpr:
                own = [
                    tirx.if_then_else(size == 1, tirx.const(0, "int64"), index[axis + shift])
                    for axis, size in enumerate(x.shape)
                ]
                return x(*own)

            return te.compute(tuple(dims), element, name="stretch")

        return self.builder_.call_te(compute, arg)


def _common(shapes: list[list[Any]]) -> list[Any]:
    rank = max(map(len, shapes))
    dims = []
    for axis in range(-rank, 0):
        column = [shape[axis] for shape in shapes if len(shape) >= -axis]
        dims.append(functools.reduce(tirx.max, column))
    return dims


_BROADCAST = {
    f"relax.{name}"
    for names in (
        ("add", "subtract", "multiply", "divide", "floor_divide", "mod", "floor_mod", "power"),
        ("maximum", "minimum", "where", "matmul", "left_shift", "right_shift"),
        ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
        ("logical_and", "logical_or", "logical_xor"),
        ("bitwise_and", "bitwise_or", "bitwise_xor"),
    )
    for name in names
}

# Kernels run once here, so that time to compile is all that counts.
_TARGET = tvm.target.Target({"kind": "llvm", "opt-level": 0})

# TVM's default pipeline without its memory planner, which crashes on some of these modules.
_PIPELINE = tvm.transform.Sequential(
    [
        relax.backend.DispatchSampling(),
        relax.backend.DispatchSortScan(),
        relax.transform.LegalizeOps(),
        relax.transform.RewriteDataflowReshape(),
        relax.transform.ToNonDataflow(),
        relax.transform.RemovePurityChecking(),
        relax.transform.CallTIRRewrite(),
        relax.transform.LowerAllocTensor(),
        relax.transform.LowerRuntimeBuiltin(),
        relax.transform.ComputePrimValue(),
        relax.transform.VMShapeLower(),
        relax.transform.AttachGlobalSymbol(),
    ]
)


class Model:
    """An imported module, compiled by the stock pipeline."""

    def __init__(self, module: tvm.IRModule) -> None:
        stretched = _StretchOperands(module)
        main = stretched.visit_expr(module["main"])
        stretched.builder_.update_func(module.get_global_var("main"), main)
        module = stretched.builder_.finalize()
        executable = tvm.compile(module, _TARGET, relax_pipeline=_PIPELINE)
        self.main = relax.VirtualMachine(executable, tvm.cpu())["main"]

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        result = self.main(*(tvm.runtime.tensor(np.asarray(x)) for x in inputs))
        outputs = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
        return [output.numpy() for output in outputs]
