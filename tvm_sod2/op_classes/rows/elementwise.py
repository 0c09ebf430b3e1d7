"""Entry by entry, of one operand or of several that broadcast."""

from __future__ import annotations

import operator

from tvm_sod2.op_classes import rational
from tvm_sod2.op_classes.row import Row, ValueTransfer
from tvm_sod2.op_classes.rows.short import ISDOS, ONE, rows
from tvm_sod2.op_classes.shapes import broadcast, data, given
from tvm_sod2.op_classes.symbolic import Arithmetic as A
from tvm_sod2.op_classes.values import elementwise as values
from tvm_sod2.op_classes.values.elementwise import comparison, elementwise, equality, truth


def _binary(name: str, value: ValueTransfer | None = None) -> dict[str, Row]:
    return {
        f"relax.{name}": Row(
            ISDOS,
            ONE,
            dims=broadcast.broadcast,
            value=value,
            agree=broadcast.broadcast_agreements,
        )
    }


ROWS: dict[str, Row] = {
    # One operand: numbers that dims are not computed with.
    **rows(
        ONE,
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atanh",
        "cos",
        "cosh",
        "erf",
        "exp",
        "log",
        "rsqrt",
        "sigmoid",
        "sin",
        "sinh",
        "tan",
        "tanh",
        "nn.gelu",
        "nn.gelu_tanh",
        "nn.leakyrelu",
        "nn.selu",
        "nn.silu",
        "nn.softplus",
    ),
    # One operand, followed.
    **rows(ONE, "abs", value=elementwise(A.absolute)),
    **rows(ONE, "negative", value=elementwise(A.negate)),
    **rows(ONE, "floor", value=elementwise(rational.floor)),
    **rows(ONE, "ceil", value=elementwise(rational.ceil)),
    **rows(ONE, "trunc", value=elementwise(rational.truncate)),
    **rows(ONE, "round", value=elementwise(rational.round_half_even)),
    **rows(ONE, "sign", value=elementwise(values.sign)),
    **rows(ONE, "sqrt", value=elementwise(values.root)),
    **rows(ONE, "square", value=elementwise(values.square)),
    **rows(ONE, "nn.relu", value=elementwise(values.positive_part)),
    **rows(ONE, "isfinite", value=values.always(1)),
    **rows(ONE, "isinf", "isnan", value=values.always(0)),
    **rows(ONE, "logical_not", value=elementwise(A.inverse)),
    **rows(ONE, "bitwise_not", value=truth(A.inverse, operator.invert)),
    **rows(ONE, "astype", value=values.cast),
    **rows(ONE, "clip", value=values.clip),
    **rows(
        ONE,
        "wrap_param",
        "hint_on_device",
        "to_vdevice",
        "builtin.stop_lift_params",
        value=values.identity,
    ),
    # Several operands that broadcast.
    **_binary("add", elementwise(A.add)),
    **_binary("subtract", elementwise(A.subtract)),
    **_binary("multiply", elementwise(A.multiply)),
    **_binary("divide", values.quotient),
    **_binary("floor_divide", elementwise(A.floor_divide)),
    **_binary("floor_mod", elementwise(A.floor_modulo)),
    **_binary("mod", elementwise(values.truncated_modulo)),
    **_binary("power", elementwise(values.power)),
    **_binary("maximum", elementwise(A.maximum)),
    **_binary("minimum", elementwise(A.minimum)),
    **_binary("equal", equality(values.equal_to, negated=False)),
    **_binary("not_equal", equality(values.unequal_to, negated=True)),
    **_binary("less", comparison(values.LESS)),
    **_binary("less_equal", comparison(values.LESS_EQUAL)),
    **_binary("greater", comparison(values.GREATER)),
    **_binary("greater_equal", comparison(values.GREATER_EQUAL)),
    **_binary("logical_and", elementwise(A.both)),
    **_binary("logical_or", elementwise(A.either)),
    **_binary("logical_xor", elementwise(values.exclusive)),
    **_binary("bitwise_and", truth(A.both, operator.and_)),
    **_binary("bitwise_or", truth(A.either, operator.or_)),
    **_binary("bitwise_xor", truth(values.exclusive, operator.xor)),
    **_binary("left_shift", elementwise(values.shift_left)),
    **_binary("right_shift", elementwise(values.shift_right)),
    **_binary("where", elementwise(A.select)),
    **_binary("atan2"),
    **_binary("log_add_exp"),
    # Several operands of one shape: Relax broadcasts nothing here, it raises.
    "relax.ewise_fma": Row(
        ISDOS,
        ONE,
        dims=broadcast.one_shape,
        value=elementwise(values.fused_multiply_add),
        agree=broadcast.one_shape_agreements,
    ),
    # Scale and zero point per tensor or per channel.
    "relax.quantize": Row(ISDOS, ONE, dims=given.same_as(0), agree=data.quantize_agreements),
    "relax.dequantize": Row(ISDOS, ONE, dims=given.same_as(0), agree=data.quantize_agreements),
}

AXIS_FREE = frozenset(ROWS) - {"relax.quantize", "relax.dequantize"}
"""Operators that name no axis: they stay the same where their operands are reshaped alike."""

HEAVY = frozenset(
    f"relax.{name}"
    for name in (
        "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "erf", "exp",
        "floor_divide", "floor_mod", "log", "log_add_exp", "mod", "nn.gelu", "nn.gelu_tanh",
        "nn.selu", "nn.silu", "nn.softplus", "power", "sigmoid", "sin", "sinh", "tan", "tanh",
    )
)  # fmt: skip
"""Operators of many instructions for each element; the others take a few."""
