"""How much a kernel does, written on it before it is scheduled, for profiles to read.

The note is the function attribute "sod2.work", a line of JSON:

    {"kind": "conv2d", "flops": "d0 * d1 * 1152", "dims": [["d0", "1", "d1", "64"], ...]}

``kind`` is the anchor's, or "reduction", "elementwise" or "copy". ``flops`` counts a
multiplication and an addition for each step of the anchor and nothing for what is fused to it; it
is "0" without an anchor. ``dims`` are those of each parameter, with names of their own: TIR's are
not unique.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import tvm_ffi
from tvm import ir, s_tir, tirx

from tvm_sod2.memory.text import to_python
from tvm_sod2.schedules.epilogue import ANCHOR
from tvm_sod2.schedules.panels import product

WORK = "sod2.work"

_ARITHMETIC = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Max, tirx.Min, tirx.Cast, tirx.Select)


def work_of(func: tirx.PrimFunc) -> str:
    """The note for a function of blocks; the one it has, where its maker wrote it."""
    if WORK in (func.attrs or {}):
        return str(func.attrs[WORK])
    blocks: list[Any] = []
    tvm_ffi.structural_walk(func.body, [(s_tir.SBlock, blocks.append)])
    blocks = [block for block in blocks if block.iter_vars]
    anchors = [block for block in blocks if ANCHOR in block.annotations]
    flops = sum((_flops(block) for block in anchors), start=tirx.IntImm("int64", 0))
    kind = str(anchors[0].annotations[ANCHOR]) if anchors else _kind(blocks)
    return note(kind, flops, func.params)


def note(kind: str, flops: Any, params: Sequence[Any]) -> str:
    """The note for a kernel with these parameters."""
    given = [dim for param in params for dim in _dims(param)]
    symbols = dict.fromkeys(dim for dim in given if isinstance(dim, tirx.Var))
    names = {symbol: f"d{number}" for number, symbol in enumerate(symbols)}
    return json.dumps(
        {
            "kind": kind,
            "flops": to_python(flops, names),
            "dims": [[to_python(dim, names) for dim in _dims(param)] for param in params],
        }
    )


def _flops(block: Any) -> Any:
    steps = product([var.dom.extent for var in block.iter_vars])
    strides = block.annotations.get("sod2.strides", ())
    if str(block.annotations[ANCHOR]) != "conv2d_transpose":
        return steps * 2
    # It is written as a gather: of all taps, one in `stride` along each axis meets an input.
    return tirx.floordiv(steps * 2, product([tirx.IntImm("int64", int(s)) for s in strides]))


def _kind(blocks: list[Any]) -> str:
    if any(var.iter_type == tirx.IterVar.CommReduce for b in blocks for var in b.iter_vars):
        return "reduction"
    return "elementwise" if any(_computes(block.body) for block in blocks) else "copy"


def _computes(body: Any) -> bool:
    """Whether a block does more to its elements than to choose among them."""
    found: list[Any] = []

    def value(node: Any) -> None:
        if isinstance(node, (*_ARITHMETIC, ir.Call)):
            found.append(node)

    def stored(store: Any) -> None:
        tvm_ffi.structural_walk(store.value, [(ir.Expr, value)])

    tvm_ffi.structural_walk(body, [(tirx.BufferStore, stored)])
    return any(_on_elements(node) for node in found)


def _on_elements(node: Any) -> bool:
    """Not arithmetic on indices, and not a choice by `if_then_else`."""
    if isinstance(node, ir.Call) and getattr(node.op, "name", "").endswith(".if_then_else"):
        return False
    return str(node.ty.dtype) not in ("int64", "bool")


def _dims(param: Any) -> list[Any]:
    """A buffer's shape, or a scalar parameter itself."""
    shape = getattr(param.ty, "shape", None)
    return [param] if shape is None else list(shape)
