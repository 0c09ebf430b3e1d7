"""What may be done to the scores of attention before the softmax, as functions of a score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tvm import relax, tirx

from tvm_sod2.op_classes.expressions import name_of
from tvm_sod2.passes.attention_operands import Operands, broadcasts
from tvm_sod2.passes.operand_views import places, scalar
from tvm_sod2.schedules import math
from tvm_sod2.schedules.attention_spec import Step

STEPS: dict[str, Callable[..., Any]] = {
    "relax.add": lambda a, b: a + b,
    "relax.subtract": lambda a, b: a - b,
    "relax.multiply": lambda a, b: a * b,
    "relax.divide": lambda a, b: a / b,
    "relax.maximum": tirx.max,
    "relax.minimum": tirx.min,
    "relax.where": tirx.Select,
    "relax.tanh": math.tanh,
}
"""What may be done to the scores before the softmax."""


def scaling(call: relax.Call, position: int) -> float | None:
    """The factor, where a step multiplies by a constant."""
    if name_of(call) == "relax.multiply":
        return scalar(call.args[1 - position])
    if name_of(call) == "relax.divide" and position == 0:
        divisor = scalar(call.args[1])
        return None if not divisor else 1 / divisor
    return None


def step_of(
    operands: Operands, scores: Sequence[Any], call: relax.Call, position: int
) -> Step | None:
    """A step as a function of the score and its index; None for an operand that does not fit."""
    compute = STEPS[name_of(call)]
    readers: list[Callable[[Sequence[Any]], Any]] = []
    for number, argument in enumerate(call.args):
        if number == position:
            continue
        value, dtype = scalar(argument), str(argument.ty.dtype)
        if value is not None:
            readers.append(partial(_constant, tirx.const(value, dtype)))
        elif dtype in ("float32", "bool") and broadcasts(argument.ty, scores):
            (place, *_) = places(argument, {})
            readers.append(operands.view(place, argument.ty, len(scores)).at)
        else:
            return None

    def step(score: Any, index: Sequence[Any]) -> Any:
        given = [read(index) for read in readers]
        return compute(*given[:position], score, *given[position:])

    return step


def _constant(value: Any, _index: Sequence[Any]) -> Any:
    return value
