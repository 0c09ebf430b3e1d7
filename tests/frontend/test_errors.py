"""What is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tvm_sod2 import from_onnx
from tvm_sod2.errors import ImportModelError, ModelFileError, UnsupportedOperatorError


def _model(text: str, opset: int = 17) -> onnx.ModelProto:
    header = f'<ir_version: 8, opset_import: ["": {opset}]>'
    return onnx.parser.parse_model(f"{header} agraph {text}")


def _one_node(node: onnx.NodeProto, inputs: dict[str, list], opset: int = 17) -> onnx.ModelProto:
    return helper.make_model(
        helper.make_graph(
            [node],
            "g",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in inputs.items()],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
    )


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nowhere\.onnx: no such file"):
        from_onnx(tmp_path / "nowhere.onnx")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="a folder, where an ONNX file is expected"):
        from_onnx(tmp_path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "not an ONNX model: 0 bytes"),
        (b"<!DOCTYPE html><html></html>", "not an ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not an ONNX model"),
        (b"\x00" * 64, "not an ONNX model"),
    ],
)
def test_not_onnx(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=found) as caught:
        from_onnx(path)
    assert str(path) in str(caught.value)


def test_truncated_anywhere() -> None:
    data = _model("(float[n] x) => (float[n] y) { t = Relu(x)  y = Neg(t) }").SerializeToString()
    for length in range(1, len(data) - 1):
        with pytest.raises((ModelFileError, ImportModelError)):
            from_onnx(data[:length])


def test_layout_operators_of_onnx_runtime_are_refused_with_advice() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], domain="com.microsoft.nchwc")
    with pytest.raises(UnsupportedOperatorError, match="ORT_ENABLE_EXTENDED"):
        from_onnx(_one_node(node, {"x": ["n", 16, 8, 8], "w": [16, 16, 3, 3]}))


def test_all_unsupported_operators_at_once() -> None:
    model = _model(
        """(float[n] x) => (float[n] y) {
            t = Relu(x)
            u = Bernoulli(t)
            v = Bernoulli(u)
            y = Multinomial(v)
        }"""
    )
    model.graph.node[1].name = "coin"
    with pytest.raises(UnsupportedOperatorError) as caught:
        from_onnx(model)
    words = str(caught.value)
    for part in (
        "2 operator(s)",
        "Bernoulli, Multinomial",
        "coin (Bernoulli)",
        "v (Bernoulli)",
        "y (Multinomial)",
    ):
        assert part in words


def test_unsupported_operator_inside_an_arm() -> None:
    model = _model(
        """(float[n] x, bool flag) => (float[n] y) {
            y = If(flag) <
                then_branch = a () => (float[n] t) { t = Bernoulli(x) },
                else_branch = b () => (float[n] e) { e = Neg(x) }
            >
        }"""
    )
    with pytest.raises(UnsupportedOperatorError, match=r"t \(Bernoulli\)"):
        from_onnx(model)


def test_other_domain_is_named() -> None:
    node = helper.make_node("Inverse", ["x"], ["y"], domain="com.microsoft")
    model = _one_node(node, {"x": ["n"]})
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(UnsupportedOperatorError, match=r"com\.microsoft\.Inverse"):
        from_onnx(model)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (helper.make_node("Add", ["x"], ["y"], name="sum"), r"node sum \(Add\): has 1 inputs"),
        (helper.make_node("Relu", ["x"], ["y"], alpha=1.0), "unknown attribute 'alpha'"),
        (helper.make_node("Concat", ["x"], ["y"]), "required attribute 'axis' is missing"),
        (helper.make_node("Softmax", ["x"], ["y"], axis=0.5), "'axis' is of type FLOAT"),
        (helper.make_node("Softmax", ["x"], ["y"], axis=5), "axis 5 is outside"),
        (helper.make_node("Relu", ["z"], ["y"]), "its input 'z' is not produced"),
        (helper.make_node("Transpose", ["x"], ["y"], perm=[0, 0]), "perm"),
        (helper.make_node("Swish", ["x"], ["y"]), "operator set 17 has no such operator"),
        (helper.make_node("Add", ["x", ""], ["y"]), "its input 'B' is missing, which is required"),
        (helper.make_node("Relu", ["x"], ["x"]), "its output 'x' is the name of another value"),
        (helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[0]), "'kernel_shape' is 0, where"),
        (helper.make_node("Pad", ["x", "x"], ["y"], mode="far"), "'mode' is 'far', where one of c"),
        (helper.make_node("Einsum", ["x"], ["y"], equation="ijk->i"), "does not fit inputs of sh"),
        (helper.make_node("Einsum", ["x"], ["y"], equation="ij->z"), "label that no input has"),
    ],
)
def test_malformed_nodes(node: onnx.NodeProto, words: str) -> None:
    with pytest.raises(ImportModelError, match=words):
        from_onnx(_one_node(node, {"x": ["n", 4]}))


def test_shapes_that_contradict() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="dense")
    with pytest.raises(ImportModelError, match=r"dense \(MatMul\).*inner dims 4 and 5 differ"):
        from_onnx(_one_node(node, {"x": ["n", 4], "w": [5, 2]}))


def test_relax_refusals_come_without_a_backtrace() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="stem")
    with pytest.raises(ImportModelError, match=r"node stem \(Conv\)") as caught:
        from_onnx(_one_node(node, {"x": ["n", 4, 8, 8], "w": [8, 3, 3, 3]}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "(float[n] x, int64[n] k) => (float[n] y) { y = Add (x, k) }",
            r"y \(Add\): its input 'k' is int64, where float32 is expected as of 'x'",
        ),
        (
            "(float[n] x, float[n] x) => (float[n] y) { y = Neg (x) }",
            "two graph inputs have the same name: x",
        ),
        (
            "(float[4611686018427387904,4] x) => (float[n,4] y) { y = Neg (x) }",
            "input 'x' has dims .* more entries than can be counted",
        ),
        (
            """(float[n] x, bool b) => (float[n] y, float[n] z) {
                y, z = If (b) <
                    then_branch = t () => (float[n] p) { p = Neg (x) },
                    else_branch = e () => (float[n] q) { q = Abs (x) }
                >
            }""",
            r"y \(If\): an arm has 1 results, where 2 are expected",
        ),
    ],
)
def test_models_that_contradict_themselves(text: str, words: str) -> None:
    with pytest.raises(ImportModelError, match=words):
        from_onnx(_model(text))


def test_weights_of_negative_dims() -> None:
    model = _model("(float[n] x) => (float[n] y) <float[4] w = {1, 2, 3, 4}> { y = Add (x, w) }")
    model.graph.initializer[0].dims[0] = -4
    with pytest.raises(ImportModelError, match=r"initialiser 'w' is damaged: its dims are \[-4\]"):
        from_onnx(model)


def test_functions_that_call_themselves() -> None:
    model = _model("(float[n] x) => (float[n] y) { y = Neg (x) }")
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[0].op_type, model.graph.node[0].domain = "Twice", "own"
    again = helper.make_node("Twice", ["a"], ["b"], domain="own")
    body = helper.make_function("own", "Twice", ["a"], ["b"], [again], model.opset_import)
    model.functions.append(body)
    with pytest.raises(ModelFileError, match=r"its functions cannot be inlined: .*recursive"):
        from_onnx(model)


def test_unknown_rank() -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    with pytest.raises(ImportModelError, match="'x' has no declared rank; set its shape"):
        from_onnx(_one_node(node, {"x": None}))  # type: ignore[dict-item]


def test_rank_that_depends_on_data() -> None:
    # No declared type tells the rank of t.
    model = _model("(float[n] x, int64[k] s) => (float y) { t = Reshape(x, s) y = ReduceSum(t) }")
    with pytest.raises(ImportModelError, match=r"t \(Reshape\).*vector of known length"):
        from_onnx(model)


def test_squeeze_without_axes_of_unknown_dims() -> None:
    model = _model("(float[n,1] x) => (float y) { t = Squeeze(x) y = ReduceSum(t) }")
    with pytest.raises(ImportModelError, match="give the axes to squeeze"):
        from_onnx(model)


def test_string_tensor() -> None:
    model = _model("(string[n] x) => (string[n] y) { y = Identity(x) }")
    with pytest.raises(ImportModelError, match="input 'x' is a tensor of STRING"):
        from_onnx(model)


def test_opset_of_the_future() -> None:
    model = _model("(float[n] x) => (float[n] y) { y = Neg(x) }")
    model.opset_import[0].version = 999
    with pytest.raises(ImportModelError, match="install a newer onnx"):
        from_onnx(model)
