"""Where weights may lie, and functions that a model brings along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from peer import check, parsed
from tvm import relax

from tvm_sod2 import from_onnx
from tvm_sod2.errors import ImportModelError, ModelFileError

WEIGHT = np.arange(4, dtype="float32")


def _saved(folder: Path, location: str) -> Path:
    """x + w, whose w lies in another file."""
    weight = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL
    )
    entry = weight.external_data.add()
    entry.key, entry.value = "location", location
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _constants(path: Path) -> list[np.ndarray]:
    (block,) = from_onnx(path)["main"].body.blocks
    calls = [binding.value for binding in block.bindings]
    return [
        argument.value.numpy()
        for call in calls
        if isinstance(call, relax.Call)
        for argument in call.args
        if hasattr(argument, "value")
    ]


@pytest.mark.parametrize("location", ["w.bin", "weights/w.bin", "./weights/w.bin"])
def test_weights_beside_the_model(location: str, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / location).write_bytes(WEIGHT.tobytes())
    (found,) = _constants(_saved(tmp_path, location))
    np.testing.assert_array_equal(found, WEIGHT)


@pytest.mark.parametrize("kind", ["above", "absolute", "link", "missing"])
def test_weights_elsewhere_are_refused(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    outside = tmp_path / "w.bin"
    outside.write_bytes(WEIGHT.tobytes())
    (folder / "link.bin").symlink_to(outside)
    locations = {"above": "../w.bin", "absolute": str(outside), "link": "link.bin"}
    path = _saved(folder, locations.get(kind, "missing.bin"))
    with pytest.raises(ModelFileError, match="external weights cannot be read") as caught:
        from_onnx(path)
    assert str(path) in str(caught.value)


def test_bytes_do_not_tell_where_the_weights_lie(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    data = _saved(tmp_path, "w.bin").read_bytes()
    for source in (data, onnx.load_model_from_string(data)):
        with pytest.raises(ImportModelError, match="initialiser 'w' lies in another file"):
            from_onnx(source)


def test_an_initialiser_that_is_an_input_too_is_a_weight() -> None:
    text = "(float[n] x, float[1] w) => (float[n] y) <float[1] w = {3.0}> { y = Mul(x, w) }"
    model = parsed(text)
    assert [value.name for value in model.graph.input] == ["x", "w"]
    assert [param.name for param in from_onnx(model)["main"].params] == ["x"]


def test_functions_of_the_model_with_attributes_and_calls_of_each_other() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[n,m] x) => (float[n,m] y, float[n,m] z) {
            y = local.twice<alpha=0.3>(x)
            z = local.leaky<alpha=0.1>(y)
        }
        <opset_import: ["" : 17], domain: "local">
        leaky <alpha> (a) => (b) { b = LeakyRelu<alpha: float = @alpha>(a) }
        <opset_import: ["" : 17, "local" : 1], domain: "local">
        twice <alpha> (a) => (b) {
            c = local.leaky<alpha: float = @alpha>(a)
            b = Add(c, a)
        }"""
    )
    rng = np.random.default_rng(0)
    check(model, [{"x": rng.normal(size=s).astype("float32")} for s in ((1, 3), (5, 2))])
