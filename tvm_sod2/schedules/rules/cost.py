"""Rough cost of evaluating an expression once, and how wide it can be vectorised."""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr, Op, TensorLoad
from tvm.tirx import Var

from tvm_sod2.schedules.traits import Traits

__all__ = ["EXPENSIVE", "lanes_of", "weight"]

# Arithmetic instructions per vector, roughly: 1 for an addition. From the formulas in math.py and
# trigonometry.py.
_CALLS: dict[str, int] = {
    "tirx.exp": 18,
    "tirx.log": 24,
    "tirx.erf": 30,
    "tirx.tanh": 26,
    "tirx.sigmoid": 26,
    "tirx.sin": 100,
    "tirx.cos": 100,
    "tirx.pow": 40,
    "tirx.sqrt": 6,
    "tirx.rsqrt": 8,
    "prim.if_then_else": 1,
    "tirx.reinterpret": 0,
}
_UNKNOWN_CALL = 4
_DIVISION = 4

# Functions of which LLVM has no vector form and which TVM does not take apart into scalar calls.
_SCALAR_ONLY = frozenset({"tirx.cosh", "tirx.sinh"})

EXPENSIVE = 16
"""From this weight on, a value needed twice is kept rather than computed twice."""


def weight(expr: Expr) -> int:
    """Instructions to evaluate `expr` once; loads and index arithmetic are not counted."""
    total = 0

    skip = tvm_ffi.WalkResult.SKIP

    def call(node: Call) -> object:
        nonlocal total
        name = node.op.name if isinstance(node.op, Op) else ""
        total += _CALLS.get(name, _UNKNOWN_CALL)
        if name != "prim.if_then_else":
            return None
        total += weight(node.args[1]) + weight(node.args[2])
        return skip  # the condition is index arithmetic, and mostly resolved by splitting loops

    def binary(_: Expr) -> None:
        nonlocal total
        total += 1

    def division(_: Expr) -> None:
        nonlocal total
        total += _DIVISION

    tvm_ffi.structural_walk(
        expr,
        [
            (TensorLoad, lambda _: skip),
            (Call, call),
            ((tirx.Div, tirx.FloorDiv, tirx.FloorMod, tirx.Mod), division),
            ((tirx.Add, tirx.Sub, tirx.Mul, tirx.Min, tirx.Max, tirx.Select), binary),
        ],
        order="pre",
    )
    return total


def lanes_of(traits: Traits, along: Var, *exprs: Expr) -> int:
    """Lanes at which every value in the expressions, vectorised over `along`, fits one register."""
    dtypes: set[str] = set()
    skip = tvm_ffi.WalkResult.SKIP

    def load(node: TensorLoad) -> object:
        dtypes.add(str(node.ty.dtype))
        return skip

    def variable(node: Var) -> None:
        if node.same_as(along):
            dtypes.add(str(node.ty.dtype))

    scalar = False

    def call(node: Call) -> None:
        nonlocal scalar
        scalar = scalar or getattr(node.op, "name", "") in _SCALAR_ONLY

    for expr in exprs:
        dtypes.add(str(expr.ty.dtype))
        tvm_ffi.structural_walk(
            expr,
            [
                (TensorLoad, load),
                (tirx.Cast, lambda node: dtypes.add(str(node.ty.dtype))),
                (Var, variable),
                (Call, call),
            ],
            order="pre",
        )
    if scalar:
        return 1
    return min(traits.vector_bytes, *(traits.lanes(dtype) for dtype in dtypes))
