"""Pieces, copies, indices and orders of a tensor: no entry is computed.

Repeats, widths, counts and depths are attributes here, constants; where an ONNX operator gets them
at run time the importer builds it from other operators.
"""

from __future__ import annotations

import numpy as np

from tvm_sod2.op_classes import refusals
from tvm_sod2.op_classes.row import Row
from tvm_sod2.op_classes.rows.short import (
    EXPAND,
    ISDOS,
    ISVDOS,
    MANY,
    ONE,
    REORGANIZE,
    SHUFFLE,
    rows,
)
from tvm_sod2.op_classes.shapes import broadcast, given, join
from tvm_sod2.op_classes.shapes import index as places
from tvm_sod2.op_classes.values import index, movement

ROWS: dict[str, Row] = {
    # Pieces of a tensor, one to one.
    "relax.concat": Row(
        ISDOS, ONE, dims=join.concat, value=movement.concat, agree=join.concat_agreements
    ),
    "relax.stack": Row(
        ISDOS, ONE, dims=join.stack, value=movement.stack, agree=join.stack_agreements
    ),
    "relax.split": Row(ISDOS, ONE, value=movement.split),
    "relax.strided_slice": Row(ISDOS, ONE, value=movement.strided_slice),
    "relax.dynamic_strided_slice": Row(
        ISVDOS,
        ONE,
        shape_inputs=(1, 2, 3),
        dims=places.dynamic_strided_slice,
        value=movement.dynamic_strided_slice,
    ),
    "relax.slice_scatter": Row(
        ISDOS, MANY, value=index.slice_scatter, agree=places.slice_scatter_agreements
    ),
    "relax.flip": Row(ISDOS, ONE, value=movement.flip),
    "relax.nn.pad": Row(ISDOS, ONE, value=movement.pad),
    "relax.tril": Row(ISDOS, ONE, value=movement.triangle(np.tril)),
    "relax.triu": Row(ISDOS, ONE, value=movement.triangle(np.triu)),
    # One to many.
    "relax.broadcast_to": Row(
        ISVDOS,
        EXPAND,
        shape_inputs=(1,),
        dims=given.shape_from(1),
        value=movement.expand,
        agree=broadcast.stretched_agreements,
    ),
    "relax.take": Row(ISDOS, EXPAND, value=index.take),
    "relax.gather_elements": Row(ISDOS, EXPAND, value=index.gather_elements),
    "relax.gather_nd": Row(
        ISDOS,
        EXPAND,
        value=index.gather_nd,
        agree=places.gather_nd_agreements,
    ),
    "relax.index_tensor": Row(ISDOS, EXPAND, dims=places.index_tensor, value=index.index_tensor),
    "relax.repeat": Row(ISDOS, EXPAND, value=movement.repeat),
    "relax.tile": Row(ISDOS, EXPAND, value=movement.tile),
    "relax.one_hot": Row(ISDOS, EXPAND, value=index.one_hot),
    "relax.meshgrid": Row(ISDOS, EXPAND, value=movement.meshgrid, refuse=refusals.swapped_grid),
    # Written over by index.
    "relax.scatter_elements": Row(
        ISDOS, MANY, value=index.scatter_elements, agree=places.scatter_elements_agreements
    ),
    "relax.scatter_nd": Row(
        ISDOS, MANY, value=index.scatter_nd, agree=places.scatter_nd_agreements
    ),
    **rows(MANY, "index_put"),
    # Reorganize: the order of elements in memory stays.
    "relax.reshape": Row(
        ISVDOS,
        REORGANIZE,
        shape_inputs=(1,),
        dims=given.shape_from(1),
        value=movement.reshape,
        agree=join.reshape_agreements,
    ),
    "relax.squeeze": Row(
        ISDOS,
        REORGANIZE,
        dims=join.squeeze,
        value=movement.reshape,
        agree=join.squeeze_agreements,
    ),
    **rows(REORGANIZE, "flatten", "expand_dims", "nn.batch_flatten", value=movement.reshape),
    # Shuffle.
    "relax.permute_dims": Row(ISDOS, SHUFFLE, value=movement.transpose),
    **rows(SHUFFLE, "layout_transform", "nn.pixel_shuffle"),
    **rows(SHUFFLE, "reverse_sequence", agree=places.reverse_sequence_agreements),
    # Losses of broadcasting undone: a sum over the axes that were stretched.
    **rows(MANY, "collapse_sum_like"),
    "relax.collapse_sum_to": Row(ISVDOS, MANY, shape_inputs=(1,), dims=given.shape_from(1)),
}
