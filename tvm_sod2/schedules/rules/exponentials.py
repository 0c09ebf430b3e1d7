"""Softmax's exponentials, whose arguments are never above 0, by a shorter formula.

Before: ``s += exp(x[k] - m)``, m the maximum of x[k]. After: the same with `exp_of_negative`, which
needs no bounds and no gradual underflow. Beside the largest term, which is 1, what is below 2**-125
is nothing.
"""

from __future__ import annotations

from dataclasses import replace

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr, TensorLoad

from tvm_sod2.schedules.kernel import f32
from tvm_sod2.schedules.rules.polynomial import put
from tvm_sod2.schedules.rules.program import Program, Stage
from tvm_sod2.schedules.rules.reducers import Combiner

__all__ = ["exp_of_negative", "shorten_exponentials", "summed_exponential"]

# e**r on [-ln 2 / 2, ln 2 / 2], exactly 1 at 0, fitted here to 9e-8 relative.
_POLYNOMIAL = (
    8.290272029247626e-3,
    4.1898159658948775e-2,
    1.6667638128572418e-1,
    4.999914784070546e-1,
    9.999997063129099e-1,
    1.0,
)
_LOG2_E, _LN_2 = 1.4426950408889634, 0.6931471805599453
_ROUND = 12582912.0  # 1.5 * 2**23: adding it leaves the nearest integer in the low bits
_SMALLEST = -86.6


def exp_of_negative(x: Expr) -> Expr:
    """``e**x`` for a float32 expression x <= 0, 4e-7 relative off; 0 below -86.6, NaN for NaN.

    x = m ln 2 + r; a polynomial in r, to whose exponent m is added.
    """
    given, shifted, rest = (tirx.Var(name, "float32") for name in ("x", "shifted", "rest"))
    value: Expr = f32(_POLYNOMIAL[0])
    for factor in _POLYNOMIAL[1:]:
        value = value * rest + f32(factor)
    exponent = tirx.reinterpret("int32", shifted) << tirx.const(23, "int32")
    power = tirx.reinterpret("float32", tirx.reinterpret("int32", value) + exponent)
    result: Expr = tirx.Select(given < f32(_SMALLEST), f32(0.0), power)
    result = tirx.Let(rest, given - (shifted - f32(_ROUND)) * f32(_LN_2), result)
    result = tirx.Let(shifted, given * f32(_LOG2_E) + f32(_ROUND), result)
    return tirx.Let(given, x, result)


def shorten_exponentials(program: Program) -> Program:
    """The program with the exponentials of softmaxes of float32 replaced."""
    return Program(
        program.func, [_shortened(program, s) for s in program.stages], program.temporaries
    )


def _shortened(program: Program, stage: Stage) -> Stage:
    exponential = summed_exponential(program, stage)
    if exponential is None or str(exponential.ty.dtype) != "float32":
        return stage
    shorter = exp_of_negative(exponential.args[0])
    if stage.kept is None or stage.value.same_as(exponential):
        return replace(stage, value=shorter)
    buffer, indices, _ = stage.kept
    return replace(stage, kept=(buffer, indices, shorter))


def summed_exponential(program: Program, stage: Stage) -> Call | None:
    """The exponential of differences to their maximum whose sum the stage is, if it is one."""
    if stage.combiner is not Combiner.SUM:
        return None
    term = stage.value
    if stage.kept is not None and isinstance(term, TensorLoad):
        term = stage.kept[2]
    if not isinstance(term, Call) or getattr(term.op, "name", "") != "tirx.exp":
        return None
    argument = term.args[0]
    if not isinstance(argument, tirx.Sub) or not isinstance(argument.b, TensorLoad):
        return None
    of_maximum = any(
        s.combiner is Combiner.MAX
        and s.epilogue is None
        and s.buffer.same_as(argument.b.source)
        and _same_term(s, argument.a, stage)
        for s in program.stages
    )
    return term if of_maximum else None


def _same_term(maximum: Stage, term: Expr, total: Stage) -> bool:
    """Whether the maximum is over the very terms whose differences to it are taken."""
    if len(maximum.axes) != len(total.axes) or len(maximum.reduced) != len(total.reduced):
        return False
    pairs = zip((*maximum.axes, *maximum.reduced), (*total.axes, *total.reduced), strict=True)
    moved = {hash(a.var): b.var for a, b in pairs}
    value = put(maximum.value, moved)
    return tvm_ffi.structural_equal(value, term)
