"""Reductions, running sums, orders, losses."""

from __future__ import annotations

import numpy as np

from tvm_sod2.op_classes.row import Row
from tvm_sod2.op_classes.rows.short import EDO, MANY, rows, times
from tvm_sod2.op_classes.shapes import data
from tvm_sod2.op_classes.shapes.common import same_dims
from tvm_sod2.op_classes.symbolic import Arithmetic as A
from tvm_sod2.op_classes.values import create, fold

ROWS: dict[str, Row] = {
    **rows(MANY, "sum", value=fold.reduce(A.add, 0), reads=times(1)),
    **rows(MANY, "prod", value=fold.reduce(A.multiply, 1), reads=times(1)),
    **rows(MANY, "max", value=fold.reduce(A.maximum), reads=times(1)),
    **rows(MANY, "min", value=fold.reduce(A.minimum), reads=times(1)),
    **rows(MANY, "mean", value=fold.mean, reads=times(1)),
    **rows(MANY, "median"),
    **rows(MANY, "std", "variance", reads=times(2)),
    **rows(MANY, "argmax", value=fold.extreme_place(np.argmax), reads=times(3)),
    **rows(MANY, "argmin", value=fold.extreme_place(np.argmin), reads=times(3)),
    **rows(MANY, "cumsum", value=fold.scan(A.add, 0)),
    **rows(MANY, "cumprod", value=fold.scan(A.multiply, 1)),
    **rows(MANY, "sort", value=fold.sort),
    **rows(MANY, "argsort", value=fold.argsort),
    **rows(MANY, "topk", value=fold.topk),
    **rows(MANY, "bucketize"),
    **rows(
        MANY,
        "multinomial_from_uniform",
        agree=same_dims(((1, 0), (2, 0))),
    ),
    **rows(
        MANY, "nn.cross_entropy_with_logits", agree=same_dims(((1, 0), (0, 0)), ((1, 1), (0, 1)))
    ),
    **rows(MANY, "nn.nll_loss", agree=data.nll_loss_agreements),
    # The number of results depends on the data.
    "relax.nonzero": Row(EDO, MANY, dims=data.nonzero, value=create.nonzero),
    "relax.unique": Row(EDO, MANY, dims=data.unique),
}
