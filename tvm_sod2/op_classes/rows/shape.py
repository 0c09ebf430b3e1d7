"""Shapes as values, and tensors made from shapes."""

from __future__ import annotations

from tvm_sod2.op_classes import refusals
from tvm_sod2.op_classes.row import Row
from tvm_sod2.op_classes.rows.short import EXPAND, ISDO, ISDOS, ISVDOS, ONE
from tvm_sod2.op_classes.shapes import given
from tvm_sod2.op_classes.values import create
from tvm_sod2.op_classes.values.elementwise import identity

_BY_SHAPE = given.shape_from(0)

ROWS: dict[str, Row] = {
    "relax.shape_of": Row(ISDO, ONE, value=create.dims_of),
    "relax.size": Row(ISDO, ONE, value=create.element_count),
    "relax.shape_to_tensor": Row(ISDO, ONE, value=identity),
    "relax.tensor_to_shape": Row(ISVDOS, ONE, shape_inputs=(0,), value=identity),
    "relax.full": Row(ISVDOS, EXPAND, shape_inputs=(0,), dims=_BY_SHAPE, value=create.filled(1)),
    "relax.zeros": Row(
        ISVDOS, EXPAND, shape_inputs=(0,), dims=_BY_SHAPE, value=create.filled_with(0)
    ),
    "relax.ones": Row(
        ISVDOS, EXPAND, shape_inputs=(0,), dims=_BY_SHAPE, value=create.filled_with(1)
    ),
    "relax.full_like": Row(ISDOS, EXPAND, value=create.filled(1)),
    "relax.zeros_like": Row(ISDO, EXPAND, value=create.filled_with(0)),
    "relax.ones_like": Row(ISDO, EXPAND, value=create.filled_with(1)),
    "relax.eye": Row(ISVDOS, EXPAND, shape_inputs=(0, 1), value=create.eye(2)),
    "relax.eye_like": Row(ISDO, EXPAND, value=create.eye(1)),
    "relax.arange": Row(
        ISVDOS,
        EXPAND,
        shape_inputs=(0, 1, 2),
        value=create.arange,
        refuse=refusals.falling_range,
    ),
    "relax.hamming_window": Row(ISVDOS, EXPAND, shape_inputs=(0,)),
}
