"""Vectors of every second, third or fourth element are shuffled out of whole ones.

    A[ramp(at, 2, 8)]
->  shuffle(A[ramp(at, 1, 8)], A[ramp(at + 7, 1, 8)]; 0, 2, 4, 6, 9, 11, 13, 15)

TVM's code generator makes a load for each lane of these, and of those that run backwards. The last
load ends with the last element wanted: nothing beyond the ends is read.
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Expr, TensorLoad
from tvm.tirx import IntImm

__all__ = ["STEPS", "strided_loads"]

STEPS = (-1, 2, 3, 4)
"""Steps of loads, in elements, that are shuffled."""


@tvm.transform.module_pass(opt_level=0, name="StridedLoads")
def strided_loads(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Rewrite loads of constant step; runs on vectorised loops."""
    for gvar, func in mod.functions.items():
        mod[gvar] = tvm_ffi.structural_map(func, [(TensorLoad, _shuffled)])
    return mod


def _shuffled(load: TensorLoad) -> Expr:
    index = load.indices[-1]
    if len(load.indices) != 1 or not isinstance(index, tirx.Ramp):
        return load
    if not isinstance(index.stride, IntImm) or not isinstance(index.lanes, IntImm):
        return load
    step, lanes = int(index.stride.value), int(index.lanes.value)
    element = str(load.source.ty.dtype)  # TVM packs vectors of booleans into bits
    packed = element == "bool" or tvm.DataType(element).bits < 8
    if step not in STEPS or lanes < 2 or packed or tvm.DataType(element).lanes != 1:
        return load
    if step < 0:
        return _pick(load, [index.base - _at(index, lanes - 1)], range(lanes - 1, -1, -1), lanes)
    last = step * (lanes - 1)
    starts = [*range(0, last + 1 - lanes, lanes), last + 1 - lanes]
    lane_of: list[int] = []
    for wanted in range(0, last + 1, step):
        number = min(wanted // lanes, len(starts) - 1)
        if wanted < starts[number]:
            number -= 1
        lane_of.append(number * lanes + wanted - starts[number])
    return _pick(load, [index.base + _at(index, s) for s in starts], lane_of, lanes)


def _at(index: tirx.Ramp, offset: int) -> IntImm:
    return IntImm(str(index.base.ty.dtype), offset)


def _pick(load: TensorLoad, starts: list[Expr], picked: list[int] | range, lanes: int) -> Expr:
    vectors = [tirx.BufferLoad(load.source, [tirx.Ramp(s, _one(s), lanes)]) for s in starts]
    return tirx.Shuffle(vectors, [IntImm("int32", lane) for lane in picked])


def _one(start: Expr) -> IntImm:
    return IntImm(str(start.ty.dtype), 1)
