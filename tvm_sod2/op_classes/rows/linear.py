"""Anchors: products, convolutions, pooling, attention, norms."""

from __future__ import annotations

from tvm_sod2.op_classes.row import Row
from tvm_sod2.op_classes.rows.short import ISDOS, MANY, ONE, overlap, rows, times
from tvm_sod2.op_classes.shapes import given, linear
from tvm_sod2.op_classes.shapes.common import same_dims
from tvm_sod2.op_classes.values import movement

ROWS: dict[str, Row] = {
    "relax.matmul": Row(ISDOS, MANY, dims=linear.matmul, agree=linear.matmul_agreements),
    **rows(MANY, "einsum", agree=linear.einsum_agreements),
    **rows(MANY, "outer"),
    **rows(
        MANY,
        "nn.conv1d",
        "nn.conv2d",
        "nn.conv3d",
        agree=linear.conv_agreements,
        filled=linear.window_axes,
    ),
    **rows(
        MANY,
        "nn.conv1d_transpose",
        "nn.conv2d_transpose",
        "nn.conv3d_transpose",
        agree=linear.conv_transpose_agreements,
    ),
    **rows(
        MANY,
        "nn.avg_pool1d",
        "nn.avg_pool2d",
        "nn.avg_pool3d",
        "nn.max_pool1d",
        "nn.max_pool2d",
        "nn.max_pool3d",
        reads=overlap,
    ),
    **rows(
        MANY,
        "nn.adaptive_avg_pool1d",
        "nn.adaptive_avg_pool2d",
        "nn.adaptive_avg_pool3d",
        reads=times(2),
    ),
    **rows(MANY, "nn.softmax", "nn.log_softmax", reads=times(3)),
    **rows(MANY, "nn.attention", "nn.attention_bias", agree=linear.attention_agreements),
    # Sequences packed one after the other: (1, total length, heads, size).
    **rows(
        MANY,
        "nn.attention_var_len",
        agree=same_dims(((1, 1), (2, 1)), ((0, 3), (1, 3)), ((1, 2), (2, 2)), ((4, 0), (3, 0))),
    ),
    "relax.nn.layer_norm": Row(
        ISDOS, MANY, dims=given.same_as(0), agree=linear.norm_agreements(1, 2), reads=times(2)
    ),
    "relax.nn.rms_norm": Row(
        ISDOS, MANY, dims=given.same_as(0), agree=linear.norm_agreements(1), reads=times(2)
    ),
    **rows(
        MANY,
        "nn.group_norm",
        "nn.instance_norm",
        agree=linear.channel_agreements("channel_axis", 1, 2),
        reads=times(2),
    ),
    "relax.nn.batch_norm": Row(
        ISDOS, ONE, dims=linear.batch_norm, agree=linear.channel_agreements("axis", 1, 2, 3, 4)
    ),
    **rows(ONE, "nn.prelu", agree=linear.channel_agreements("axis", 1)),
    **rows(ONE, "nn.dropout", value=movement.untouched_fields),
}
