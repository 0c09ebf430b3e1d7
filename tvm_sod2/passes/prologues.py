"""Which elementwise operators are computed as the reduction behind them reads its operand.

    t = multiply(x, x);  s = sum(t, axis=1)   ->   one kernel, and t is never written

DNNFusion fuses one-to-one before many-to-many where measuring says so. What was measured: it pays
as long as computing again what is read again costs less than a pass over memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tvm import relax
from tvm.tirx import IntImm

from tvm_sod2.op_classes import is_elementwise, is_heavy, row

_MOST_AGAIN = 12
"""Instructions for each element of the operand, over all times that it is read."""

_HEAVY = 16  # instructions of an exponential, a tangent, a power

_FEW = 16
"""Results: with fewer, a reduction has too few parts to share a heavy operator among threads."""


def is_prologue(members: Sequence[relax.Binding], anchor: relax.VarBinding) -> bool:
    """Whether `members`, of which only the last is read elsewhere, may join the anchor's kernel."""
    call = anchor.value
    reads = row(call.op.name).reads
    operands = [argument.same_as(members[-1].var) for argument in call.args]
    if reads is None or operands != [i == 0 for i in range(len(operands))]:
        return False
    if not all(_is_elementwise(member) for member in members):
        return False
    times = reads(call)
    work = sum(_HEAVY if is_heavy(member.value.op.name) else 1 for member in members)
    return times * work <= _MOST_AGAIN or (times == 1 and _known_size(anchor) >= _FEW)


def _is_elementwise(member: relax.Binding) -> bool:
    value = member.value
    if not isinstance(value, relax.Call) or not is_elementwise(value.op.name):
        return False
    # TVM legalises bfloat16 everywhere but in the values of lets, as mathematics has them.
    return all(str(getattr(argument.ty, "dtype", "")) != "bfloat16" for argument in value.args)


def _known_size(anchor: relax.VarBinding) -> int:
    """The product of the result's constant dims."""
    return prod(int(dim.value) for dim in anchor.var.ty.shape.values if isinstance(dim, IntImm))
