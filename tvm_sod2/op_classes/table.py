"""The rows: adding an operator is one line here."""

from __future__ import annotations

import numpy as np

from tvm_sod2.op_classes import shapes, values
from tvm_sod2.op_classes.row import Dynamism, Mapping, Row
from tvm_sod2.op_classes.symbolic import Arithmetic as A

_ISDO, _ISDOS, _ISVDOS, _EDO = Dynamism.ISDO, Dynamism.ISDOS, Dynamism.ISVDOS, Dynamism.EDO
_ONE, _EXPAND, _MANY = Mapping.ONE_TO_ONE, Mapping.ONE_TO_MANY, Mapping.MANY_TO_MANY
_REORGANIZE, _SHUFFLE = Mapping.REORGANIZE, Mapping.SHUFFLE


_ROUNDING = ("ceil", "floor", "round", "trunc")  # each is the identity on a whole number


def _unary(*names: str) -> dict[str, Row]:
    return {f"relax.{name}": Row(_ISDOS, _ONE) for name in names}


def _binary(name: str, value: values.ValueTransfer | None = None) -> dict[str, Row]:
    return {
        f"relax.{name}": Row(
            _ISDOS, _ONE, dims=shapes.broadcast, value=value, agree=shapes.broadcast_agreements
        )
    }


def _many(*names: str) -> dict[str, Row]:
    return {f"relax.{name}": Row(_ISDOS, _MANY) for name in names}


ROWS: dict[str, Row] = {
    # Elementwise, one input.
    **_unary(
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atanh",
        "bitwise_not",
        "cos",
        "cosh",
        "erf",
        "exp",
        "isfinite",
        "isinf",
        "isnan",
        "log",
        "rsqrt",
        "sigmoid",
        "sign",
        "sin",
        "sinh",
        "sqrt",
        "square",
        "tan",
        "tanh",
        "nn.dropout",
        "nn.gelu",
        "nn.gelu_tanh",
        "nn.leakyrelu",
        "nn.prelu",
        "nn.relu",
        "nn.selu",
        "nn.silu",
        "nn.softplus",
        "tril",
        "triu",
        "hint_on_device",
        "to_vdevice",
        "builtin.stop_lift_params",
    ),
    **{f"relax.{n}": Row(_ISDOS, _ONE, value=values.identity) for n in _ROUNDING},
    "relax.abs": Row(_ISDOS, _ONE, value=values.elementwise(A.absolute)),
    "relax.negative": Row(_ISDOS, _ONE, value=values.elementwise(A.negate)),
    "relax.astype": Row(_ISDOS, _ONE, value=values.cast),
    "relax.wrap_param": Row(_ISDOS, _ONE, value=values.identity),
    "relax.clip": Row(
        _ISDOS,
        _ONE,
        value=values.elementwise(lambda a, x, low, high: a.minimum(a.maximum(x, low), high)),
    ),
    "relax.logical_not": Row(_ISDOS, _ONE, value=values.elementwise(A.inverse)),
    "relax.quantize": Row(_ISDOS, _ONE),
    "relax.dequantize": Row(_ISDOS, _ONE),
    "relax.nn.batch_norm": Row(_ISDOS, _ONE),
    # Elementwise, several inputs.
    **_binary("add", values.elementwise(A.add)),
    **_binary("subtract", values.elementwise(A.subtract)),
    **_binary("multiply", values.elementwise(A.multiply)),
    **_binary("divide", values.quotient),
    **_binary("floor_divide", values.elementwise(A.floor_divide)),
    **_binary("floor_mod", values.elementwise(A.floor_modulo)),
    **_binary("maximum", values.elementwise(A.maximum)),
    **_binary("minimum", values.elementwise(A.minimum)),
    **_binary("equal", values.comparison(values.equal_to)),
    **_binary("not_equal", values.comparison(values.unequal_to)),
    **_binary("less", values.comparison(values.LESS)),
    **_binary("less_equal", values.comparison(values.LESS_EQUAL)),
    **_binary("greater", values.comparison(values.GREATER)),
    **_binary("greater_equal", values.comparison(values.GREATER_EQUAL)),
    **_binary("logical_and", values.elementwise(A.both)),
    **_binary("logical_or", values.elementwise(A.either)),
    **_binary("where", values.elementwise(A.select)),
    **_binary("mod"),
    **_binary("power"),
    **_binary("atan2"),
    **_binary("bitwise_and"),
    **_binary("bitwise_or"),
    **_binary("bitwise_xor"),
    **_binary("left_shift"),
    **_binary("right_shift"),
    **_binary("logical_xor"),
    **_binary("log_add_exp"),
    **_binary("ewise_fma"),
    # Pieces of a tensor, one to one.
    "relax.concat": Row(
        _ISDOS, _ONE, dims=shapes.concat, value=values.concat, agree=shapes.concat_agreements
    ),
    "relax.stack": Row(_ISDOS, _ONE, value=values.stack),
    "relax.split": Row(_ISDOS, _ONE),
    "relax.strided_slice": Row(_ISDOS, _ONE, value=values.strided_slice),
    "relax.dynamic_strided_slice": Row(_ISVDOS, _ONE, shape_inputs=(1, 2, 3)),
    "relax.flip": Row(
        _ISDOS,
        _ONE,
        value=values.movement(lambda call, facts: np.flip(facts[0].array, int(call.attrs.axis))),
    ),
    "relax.nn.pad": Row(_ISDOS, _ONE),
    # One to many.
    "relax.broadcast_to": Row(_ISVDOS, _EXPAND, shape_inputs=(1,), value=values.expand_to),
    "relax.take": Row(_ISDOS, _EXPAND, value=values.take),
    "relax.gather_elements": Row(_ISDOS, _EXPAND),
    "relax.gather_nd": Row(_ISDOS, _EXPAND),
    "relax.index_tensor": Row(_ISDOS, _EXPAND),
    "relax.repeat": Row(_ISDOS, _EXPAND),
    "relax.tile": Row(_ISDOS, _EXPAND),
    "relax.one_hot": Row(_ISDOS, _EXPAND),
    "relax.image.resize2d": Row(_ISVDOS, _EXPAND, shape_inputs=(1,)),
    "relax.image.resize3d": Row(_ISVDOS, _EXPAND, shape_inputs=(1,)),
    "relax.image.grid_sample": Row(_ISDOS, _EXPAND),
    # Many to many.
    "relax.matmul": Row(_ISDOS, _MANY, agree=shapes.matmul_agreements),
    **_many(
        "nn.conv1d",
        "nn.conv2d",
        "nn.conv3d",
        "nn.conv1d_transpose",
        "nn.conv2d_transpose",
        "nn.conv3d_transpose",
        "nn.avg_pool1d",
        "nn.avg_pool2d",
        "nn.avg_pool3d",
        "nn.max_pool1d",
        "nn.max_pool2d",
        "nn.max_pool3d",
        "nn.adaptive_avg_pool1d",
        "nn.adaptive_avg_pool2d",
        "nn.adaptive_avg_pool3d",
        "nn.softmax",
        "nn.log_softmax",
        "nn.layer_norm",
        "nn.rms_norm",
        "nn.group_norm",
        "nn.instance_norm",
        "nn.attention",
        "nn.attention_bias",
        "einsum",
        "mean",
        "median",
        "std",
        "variance",
        "argmax",
        "argmin",
        "cumsum",
        "cumprod",
        "topk",
        "sort",
        "argsort",
        "outer",
        "scatter_elements",
        "scatter_nd",
        "index_put",
    ),
    "relax.sum": Row(_ISDOS, _MANY, value=values.reduce(A.add)),
    "relax.prod": Row(_ISDOS, _MANY, value=values.reduce(A.multiply)),
    "relax.max": Row(_ISDOS, _MANY, value=values.reduce(A.maximum)),
    "relax.min": Row(_ISDOS, _MANY, value=values.reduce(A.minimum)),
    # Reorganize: the order of elements in memory stays.
    "relax.reshape": Row(
        _ISVDOS,
        _REORGANIZE,
        shape_inputs=(1,),
        value=values.reshape,
        agree=shapes.reshape_agreements,
    ),
    "relax.flatten": Row(_ISDOS, _REORGANIZE, value=values.reshape),
    "relax.squeeze": Row(_ISDOS, _REORGANIZE, value=values.reshape),
    "relax.expand_dims": Row(_ISDOS, _REORGANIZE, value=values.reshape),
    # Shuffle.
    "relax.permute_dims": Row(
        _ISDOS,
        _SHUFFLE,
        value=values.movement(lambda call, facts: np.transpose(facts[0].array, call.attrs.axes)),
    ),
    "relax.layout_transform": Row(_ISDOS, _SHUFFLE),
    "relax.nn.pixel_shuffle": Row(_ISDOS, _SHUFFLE),
    # Shapes and creation.
    "relax.shape_of": Row(_ISDO, _ONE, value=values.dims_of),
    "relax.size": Row(_ISDO, _ONE, value=values.element_count),
    "relax.shape_to_tensor": Row(_ISDO, _ONE, value=values.identity),
    "relax.tensor_to_shape": Row(_ISVDOS, _ONE, shape_inputs=(0,), value=values.identity),
    "relax.full": Row(_ISVDOS, _EXPAND, shape_inputs=(0,), value=values.filled),
    "relax.zeros": Row(_ISVDOS, _EXPAND, shape_inputs=(0,), value=values.filled_with(0)),
    "relax.ones": Row(_ISVDOS, _EXPAND, shape_inputs=(0,), value=values.filled_with(1)),
    "relax.full_like": Row(_ISDOS, _EXPAND),
    "relax.zeros_like": Row(_ISDO, _EXPAND),
    "relax.ones_like": Row(_ISDO, _EXPAND),
    "relax.eye": Row(_ISVDOS, _EXPAND),
    "relax.eye_like": Row(_ISDO, _EXPAND),
    "relax.arange": Row(_ISVDOS, _EXPAND, shape_inputs=(0, 1, 2), value=values.arange),
    # Execution-determined.
    "relax.nonzero": Row(_EDO, _MANY, dims=shapes.nonzero),
    "relax.unique": Row(_EDO, _MANY),
    "relax.vision.non_max_suppression": Row(_EDO, _MANY),
    "relax.vision.all_class_non_max_suppression": Row(_EDO, _MANY),
}


def row(name: str) -> Row:
    """The row of a Relax operator, by its full name such as "relax.add"."""
    return ROWS.get(name) or Row.unlisted()
