"""What an imported module looks like: names, dims, attributes, blocks, and no guesses."""

from __future__ import annotations

import re

import onnx
import pytest
import tvm
from tvm import relax, tirx

from tvm_sod2 import from_onnx


def _parsed(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> agraph {text}')


def _module(text: str) -> tvm.IRModule:
    return from_onnx(_parsed(text))


def _bindings(module: tvm.IRModule) -> list[relax.Binding]:
    return [binding for block in module["main"].body.blocks for binding in block.bindings]


def _dims(var: relax.Var) -> list[str]:
    return [re.sub(r"T\.int64\((-?\d+)\)", r"\1", str(dim)) for dim in var.ty.shape.values]


def _match_casts(module: tvm.IRModule) -> list[relax.MatchCast]:
    return [binding for binding in _bindings(module) if isinstance(binding, relax.MatchCast)]


def test_parameters_keep_their_order_names_and_dims() -> None:
    model = _parsed(
        """(float[n,3,p] b, float[n] a, float[2] w) => (float[n] y) <float[2] w = {1, 2}> {
            y = Neg(a)
        }"""
    )
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "p2o.dim.1"
    module = from_onnx(model)
    b, a = module["main"].params
    assert (b.name, a.name) == ("b", "a")
    assert _dims(b) == ["n", "3", "p2o_dim_1"]
    assert a.ty.shape.values[0].same_as(b.ty.shape.values[0])
    assert module["main"].attrs["num_input"] == 2


def test_unnamed_dims_are_fresh_even_where_exporters_write_a_question_mark() -> None:
    model = _parsed("(float[a,b,c] x) => (float[a,b,c] y) { y = Neg(x) }")
    first, second, third = model.graph.input[0].type.tensor_type.shape.dim
    first.dim_param = second.dim_param = "?"
    third.Clear()
    (x,) = from_onnx(model)["main"].params
    assert _dims(x) == ["x_d0", "x_d1", "x_d2"]


def test_names_that_are_no_identifiers() -> None:
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [
                onnx.helper.make_node("Relu", ["1/x:0"], ["class"], name="relu"),
                onnx.helper.make_node("Neg", ["class"], ["R"], name=""),
            ],
            "g",
            [onnx.helper.make_tensor_value_info("1/x:0", 1, ["n"])],
            [onnx.helper.make_tensor_value_info("R", 1, ["n"])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
    )
    module = from_onnx(model)
    values = dict(module["main"].attrs["sod2.onnx_values"])
    nodes = dict(module["main"].attrs["sod2.onnx_nodes"])
    assert values == {"v1_x_0": "1/x:0", "class_": "class", "R_": "R"}
    assert nodes == {"class_": "relu (Relu)", "R_": "R (Neg)"}


def test_attributes_survive_printing_and_passes() -> None:
    module = _module("(float[n,4] x) => (float[n,4] y) { t = Relu(x)  y = Add(t, x) }")
    attrs = module["main"].attrs
    passed = tvm.transform.Sequential(
        [relax.transform.Normalize(), relax.transform.LegalizeOps(), relax.transform.FuseOps()]
    )(module)
    printed = tvm.script.from_source(module.script(show_meta=True))
    for other in (passed, printed):
        assert other["main"].attrs["num_input"] == 1
        for key in ("sod2.onnx_values", "sod2.onnx_nodes"):
            assert dict(other["main"].attrs[key]) == dict(attrs[key])


def test_one_dataflow_block_and_a_well_formed_module() -> None:
    module = _module(
        """(float[n,m] x, int64[2] s) => (float[a,b] y, float[n,m] z) {
            y = Reshape(x, s)  z = Exp(x)
        }"""
    )
    (block,) = module["main"].body.blocks
    assert isinstance(block, relax.DataflowBlock)
    assert isinstance(module["main"].body.body, relax.Tuple)
    relax.analysis.well_formed(module)


def test_run_time_reshape_binds_symbols_to_a_shape_tensor() -> None:
    module = _module("(float[n,m] x, int64[3] s) => (float[a,b,c] y) { y = Reshape(x, s) }")
    (cast,) = _match_casts(module)
    assert isinstance(cast.ty, relax.ShapeType)
    symbols = list(cast.ty.values)
    assert all(isinstance(symbol, tirx.Var) for symbol in symbols)
    result = _bindings(module)[-1]
    assert result.value.op.name == "relax.reshape"
    assert [a.same_as(b) for a, b in zip(result.var.ty.shape.values, symbols, strict=True)]


def test_constant_reshape_needs_no_symbols() -> None:
    module = _module(
        """(float[n,6,m] x) => (float[n,2,k] y) <int64[3] s = {0, 2, -1}> { y = Reshape(x, s) }"""
    )
    assert not _match_casts(module)
    assert _dims(_bindings(module)[-1].var) == ["n", "2", "m * 3"]


def test_ambiguous_broadcast_names_only_the_ambiguous_dim() -> None:
    module = _module("(float[n,k,5] x, float[m,k,1] y) => (float[q,k,5] z) { z = Add(x, y) }")
    (cast,) = _match_casts(module)
    assert _dims(cast.var) == ["z_d0", "k", "5"]


def test_known_dim_decides_a_broadcast() -> None:
    module = _module("(float[n,k] x, float[7,k] y) => (float[7,k] z) { z = Mul(x, y) }")
    (cast,) = _match_casts(module)
    assert _dims(cast.var) == ["7", "k"]


def test_arms_of_an_if_that_differ_in_a_dim() -> None:
    module = _module(
        """(float[n,m] x, bool flag) => (float[p,m] y) {
            y = If(flag) <
                then_branch = a () => (float[q,m] t) { t = Concat<axis = 0>(x, x) },
                else_branch = b () => (float[r,m] e) { e = Neg(x) }
            >
        }"""
    )
    arms = [binding for binding in _bindings(module) if isinstance(binding.value, relax.If)]
    assert len(arms) == 1
    (cast,) = _match_casts(module)
    assert _dims(cast.var) == ["y_d0", "m"]
    relax.analysis.well_formed(module)


def test_folds_what_is_constant_by_itself_and_nothing_else() -> None:
    module = _module(
        """(float[n,3] x) => (float[n,3] y, int64[1] d) <float[3] w = {1, 2, 3}, int64[1] i = {1}> {
            c = Cast<to = 7>(w)
            f = Cast<to = 1>(c)
            y = Mul(x, f)
            s = Shape(x)
            d = Gather(s, i)
        }"""
    )
    calls = [binding.value for binding in _bindings(module)]
    names = [call.op.name for call in calls if isinstance(call, relax.Call)]
    assert names == ["relax.multiply", "relax.shape_of", "relax.shape_to_tensor", "relax.take"]


def test_constants_keep_their_dtype() -> None:
    module = _module(
        "(double[n] x) => (double[n] y) <double[1] w = {0.1}> { y = Mul(x, w) }",
    )
    (binding,) = _bindings(module)
    assert [str(arg.ty.dtype) for arg in binding.value.args] == ["float64", "float64"]


@pytest.mark.parametrize("kind", ["path", "bytes", "proto"])
def test_sources_of_a_model(kind: str, tmp_path: object) -> None:
    model = _parsed("(float[n] x) => (float[n] y) { y = Neg(x) }")
    path = tmp_path / "model.onnx"  # type: ignore[operator]
    onnx.save(model, path)
    source = {"path": path, "bytes": path.read_bytes(), "proto": model}[kind]
    assert len(_bindings(from_onnx(source))) == 1
