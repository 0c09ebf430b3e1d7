"""What an import that fails leaves behind: nothing on the terminal."""

from __future__ import annotations

import gc

import pytest
from onnx import TensorProto, helper

from tvm_sod2 import from_onnx
from tvm_sod2.errors import ImportModelError


def test_a_refused_arm_leaves_no_warning_of_tvm(capfd: pytest.CaptureFixture[str]) -> None:
    arms = [
        helper.make_graph(
            [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Add", ["a", other], ["b"])],
            "arm",
            [],
            [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
        )
        for other in ("x", "y")
    ]
    node = helper.make_node("If", ["c"], ["z"], then_branch=arms[0], else_branch=arms[1])
    inputs = [
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [4]),
    ]
    output = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    with pytest.raises(ImportModelError, match="3 and 4 differ"):
        from_onnx(helper.make_model(helper.make_graph([node], "g", inputs, [output])))
    gc.collect()
    assert "Warning" not in capfd.readouterr().err
