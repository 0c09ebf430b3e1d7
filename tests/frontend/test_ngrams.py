"""TfIdfVectorizer against ONNX Runtime: modes, skips, equal columns, empty rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from peer import check

from tvm_sod2 import from_onnx
from tvm_sod2.errors import ImportModelError

VOCABULARY = {
    "ngram_counts": [0, 3, 9],
    "ngram_indexes": [2, 0, 1, 5, 3, 4, 6],
    "pool_int64s": [2, 3, 5, 2, 3, 3, 2, 5, 5, 2, 3, 5],
}


def _model(rank: int, **attrs: Any) -> onnx.ModelProto:
    node = helper.make_node("TfIdfVectorizer", ["x"], ["y"], **{**VOCABULARY, **attrs})
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT32, ["n", "m"][-rank:])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize(("low", "high", "skips"), [(1, 1, 0), (1, 3, 2), (2, 3, 1)])
def test_agrees_with_onnx_runtime(mode: str, low: int, high: int, skips: int) -> None:
    attrs = {"mode": mode, "min_gram_length": low, "max_gram_length": high, "max_skip_count": skips}
    if mode != "TF":
        attrs["weights"] = [2.0, 0.5, 3.0, 1.5, 4.0, 0.25, 7.0]
    rng = np.random.default_rng(low + skips)
    feeds = [{"x": rng.integers(2, 6, shape, "int32")} for shape in ((1, 1), (3, 17), (2, 40))]
    check(_model(2, **attrs), feeds)


def test_one_row() -> None:
    attrs = {"mode": "TF", "min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 0}
    feeds = [{"x": np.arange(size, dtype="int32")} for size in (1, 2, 7)]
    check(_model(1, **attrs), feeds)


def test_columns_may_be_shared() -> None:
    attrs = {"mode": "TFIDF", "min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 1}
    shared = {
        "ngram_indexes": [1, 1, 0, 2, 2, 1, 0],
        "weights": [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
    }
    feeds = [{"x": np.array([[2, 3, 5, 2, 3, 3, 2]], "int32")}]
    check(_model(2, **attrs, **shared), feeds)
    attrs["mode"] = "IDF"
    with pytest.raises(ImportModelError, match="share a column"):
        from_onnx(_model(2, **attrs, **shared))


def test_strings_are_refused() -> None:
    attrs = {"mode": "TF", "min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0}
    words = {"ngram_counts": [0], "ngram_indexes": [0], "pool_strings": ["a"]}
    node = helper.make_node("TfIdfVectorizer", ["x"], ["y"], **words, **attrs)
    model = _model(2, **attrs)
    model.graph.node[0].CopyFrom(node)
    with pytest.raises(ImportModelError, match="pool_strings"):
        from_onnx(model)
