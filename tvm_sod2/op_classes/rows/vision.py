"""Images and boxes."""

from __future__ import annotations

from tvm_sod2.op_classes.row import Row
from tvm_sod2.op_classes.rows.short import EXPAND, ISVDOS, MANY, rows
from tvm_sod2.op_classes.shapes import data, given
from tvm_sod2.op_classes.shapes.common import same_dims

ROWS: dict[str, Row] = {
    "relax.image.resize2d": Row(ISVDOS, EXPAND, shape_inputs=(1,), dims=given.resized("HW")),
    "relax.image.resize3d": Row(ISVDOS, EXPAND, shape_inputs=(1,), dims=given.resized("DHW")),
    "relax.image.affine_grid": Row(ISVDOS, EXPAND, shape_inputs=(1,), dims=given.affine_grid),
    **rows(EXPAND, "image.grid_sample", agree=same_dims(((1, 0), (0, 0)))),
    **rows(MANY, "vision.roi_align", "vision.roi_pool"),
    **rows(MANY, "vision.multibox_transform_loc", agree=data.multibox_agreements),
    # Unlike ONNX's, these pad their results to the largest that can be and return the valid count:
    # the shape is a matter of the inputs' shapes.
    **rows(MANY, "vision.get_valid_counts"),
    **rows(
        MANY,
        "vision.non_max_suppression",
        agree=same_dims(((1, 0), (0, 0)), ((2, 0), (0, 0)), ((2, 1), (0, 1))),
    ),
    **rows(
        MANY,
        "vision.all_class_non_max_suppression",
        agree=same_dims(((1, 0), (0, 0)), ((1, 2), (0, 1))),
    ),
}
