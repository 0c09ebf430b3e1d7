"""Operators of ai.onnx.ml on numbers, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from peer import check, parsed

from tvm_sod2 import from_onnx
from tvm_sod2.errors import ImportModelError

DOMAIN = "ai.onnx.ml"


def _model(op: str, kinds: tuple[int, int], rank: int, **attrs: Any) -> onnx.ModelProto:
    dims = ["n", "m", "k"][:rank]
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], domain=DOMAIN, **attrs)],
        "g",
        [helper.make_tensor_value_info("x", kinds[0], dims)],
        [helper.make_tensor_value_info("y", kinds[1], None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(DOMAIN, 4)], ir_version=8)


def _floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype("float32")


def test_columns() -> None:
    model = parsed(
        "(float[n,m] x, int64[k] c) => (float[n,k] y){ y = ai.onnx.ml.ArrayFeatureExtractor(x, c) }"
    )
    check(model, [{"x": _floats(n, n, 4), "c": np.array([3, 0, 0][:n])} for n in (1, 2, 3)])


def test_binarizer_and_scaler() -> None:
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT)
    feeds = [{"x": _floats(n, n, 3)} for n in (1, 7)]
    check(_model("Binarizer", kinds, 2, threshold=0.3), feeds)
    check(_model("Scaler", kinds, 2, offset=[0.1, 0.2, 0.3], scale=[2.0, 3.0, 4.0]), feeds)


def test_labels_of_numbers() -> None:
    ints, floats = TensorProto.INT64, TensorProto.FLOAT
    known = {"keys_int64s": [3, 1, 7], "values_floats": [0.5, 1.5, 2.5], "default_float": 9.0}
    feeds = [{"x": np.random.default_rng(n).integers(0, 9, (n, 5))} for n in (1, 4)]
    check(_model("LabelEncoder", (ints, floats), 2, **known), feeds)
    known = {"keys_floats": [0.5, float("nan")], "values_int64s": [4, 5]}
    check(
        _model("LabelEncoder", (floats, ints), 1, **known),
        [{"x": np.array([0.5, np.nan, 1.0], "float32")}, {"x": np.array([2.0], "float32")}],
    )


def test_labels_that_are_strings_are_refused() -> None:
    ints = TensorProto.INT64
    model = _model("LabelEncoder", (ints, ints), 1, keys_int64s=[1], values_strings=["a"])
    with pytest.raises(ImportModelError, match="values that are strings"):
        from_onnx(model)


def _trees(modes: list[str]) -> dict[str, list]:
    """Two trees of depth 2 and 1 over three features."""
    return {
        "nodes_treeids": [0, 0, 0, 0, 0, 1, 1, 1],
        "nodes_nodeids": [0, 1, 2, 3, 4, 0, 1, 2],
        "nodes_featureids": [0, 1, 0, 0, 0, 2, 0, 0],
        "nodes_modes": [modes[0], modes[1], "LEAF", "LEAF", "LEAF", modes[2], "LEAF", "LEAF"],
        "nodes_values": [0.1, -0.3, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0],
        "nodes_truenodeids": [1, 3, 0, 0, 0, 1, 0, 0],
        "nodes_falsenodeids": [2, 4, 0, 0, 0, 2, 0, 0],
        "nodes_missing_value_tracks_true": [1, 0, 0, 0, 0, 1, 0, 0],
        "target_treeids": [0, 0, 0, 1, 1],
        "target_nodeids": [2, 3, 4, 1, 2],
        "target_ids": [0, 1, 0, 1, 0],
        "target_weights": [1.5, 2.5, -3.5, 4.0, 0.25],
    }


# ONNX Runtime leaves base_values out where no leaf has the target; the standard does not.
EVERY_TARGET = {
    "target_treeids": [0] * 6 + [1] * 4,
    "target_nodeids": [2, 2, 3, 3, 4, 4, 1, 1, 2, 2],
    "target_ids": [0, 1] * 5,
    "target_weights": [1.5, 2.5, -3.5, 4.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0],
}


@pytest.mark.parametrize(
    ("modes", "more"),
    [
        (["BRANCH_LEQ"] * 3, {}),
        (["BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"], EVERY_TARGET | {"base_values": [0.5, -1.0]}),
        (["BRANCH_EQ", "BRANCH_NEQ", "BRANCH_LEQ"], {"aggregate_function": "AVERAGE"}),
        (["BRANCH_LEQ"] * 3, {"post_transform": "SOFTMAX"}),
    ],
)
def test_regression_trees(modes: list[str], more: dict[str, Any]) -> None:
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT)
    model = _model("TreeEnsembleRegressor", kinds, 2, n_targets=2, **_trees(modes) | more)
    feeds = [{"x": _floats(n, n, 3)} for n in (1, 13)]
    feeds[1]["x"][::5] = np.nan
    feeds[1]["x"][1::5] = 0.1
    check(model, feeds)


def test_trees_that_do_not_end_are_refused() -> None:
    trees = _trees(["BRANCH_LEQ"] * 3) | {"nodes_truenodeids": [0, 3, 0, 0, 0, 1, 0, 0]}
    model = _model("TreeEnsembleRegressor", (1, 1), 2, n_targets=2, **trees)
    with pytest.raises(ImportModelError, match="leads to no node, or back"):
        from_onnx(model)
