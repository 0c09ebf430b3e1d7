"""analyze(): what a report says of a model, by ONNX name, as text and as JSON."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
import tvm
from onnx import parser
from tvm import tirx
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

import tvm_sod2
from tvm_sod2.memory.text import to_python


def facts(graph: str) -> dict[str, Any]:
    """The JSON of a model given in ONNX's text form."""
    text = f'<ir_version: 8, opset_import: ["" : 17]> {graph}'
    model = parser.parse_model(text)
    onnx.checker.check_model(model)
    return tvm_sod2.analyze(tvm_sod2.from_onnx(model)).to_json()


SHAPES = """
g (float[n, 3, w] x, float[n, m] y) => (float[a, b] z, float[n, m] same)
<float[3] weight = {0.5, 1.0, 2.0}, int64[1] one = {1}>
{
  shape = Shape(x)
  two = Constant<value_int = 2>()
  width = Gather(shape, two)
  twice = Mul(width, two)
  axis = Constant<value_ints = [0]>()
  last = Unsqueeze(twice, axis)
  kept = Identity(last)
  minus = Sub(one, one)
  rest = Sub(minus, one)
  target = Concat<axis = 0>(rest, kept)
  plus = Mul(x, x)
  z = Reshape(plus, target)
  same = Cast<to = 1>(y)
}
"""


def test_every_value_of_the_graph_is_listed_by_its_name() -> None:
    found = facts(SHAPES)
    assert found["inputs"] == {"x": ["n", 3, "w"], "y": ["n", "m"]}
    values = found["values"]
    assert values["shape"] == {"dtype": "int64", "dims": [3], "value": ["n", 3, "w"]}
    assert values["width"]["dims"] == []
    assert values["width"]["value"] == ["w"]
    assert values["last"]["value"] == values["kept"]["value"] == ["w * 2"]
    assert values["target"]["value"] == [-1, "w * 2"]
    assert values["z"]["dims"][1] == "w * 2"
    # Folded by the importer, renamed by it, or never more than a weight.
    assert values["two"] == {"dtype": "int64", "dims": [], "value": [2]}
    assert values["minus"] == {"dtype": "int64", "dims": [1], "value": [0]}
    assert values["same"] == values["y"] == {"dtype": "float32", "dims": ["n", "m"]}
    assert values["weight"] == {"dtype": "float32", "dims": [3]}
    nodes = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {SHAPES}').graph.node
    assert {name for node in nodes for name in node.output} <= set(values)


def test_dims_are_counted_by_kind() -> None:
    found = facts("g (float[n, 4] x) => (float[a, b] y) { y = Concat<axis = 0>(x, x) }")
    assert found["dims"] == {"known": 2, "symbolic": 1, "expression": 1, "unknown": 0}


RANGE = """
g (float[n, 4] x, int64 stop) => (float[k, 1] y, int64[4] z)
<int64 zero = {0}, int64 one = {1}, int64[1] last = {-1}>
{
  numbers = Range(zero, stop, one)
  column = Unsqueeze(numbers, last)
  y = Cast<to = 1>(column)
  of_input = Shape(x)
  of_column = Shape(column)
  z = Concat<axis = 0>(of_input, of_column)
}
"""


def test_a_dim_that_only_the_run_knows_names_operator_and_node() -> None:
    values = facts(RANGE)["values"]
    assert values["numbers"]["dims"] == [None]
    assert values["y"]["dims"] == [None, 1]
    for name in ("numbers", "column", "y"):
        assert (values[name]["operator"], values[name]["node"]) == ("Range", "numbers")
    assert values["y"]["responsible"] == ["numbers (Range)", None]
    assert "operator" not in values["x"]


def test_an_entry_that_only_the_run_knows_names_operator_and_node() -> None:
    value = facts(RANGE)["values"]["z"]
    assert (value["dims"], value["value"]) == ([4], ["n", 4, None, 1])
    assert (value["operator"], value["node"]) == ("Range", "numbers")


def test_unknown_dims_are_counted() -> None:
    assert facts(RANGE)["dims"]["unknown"] == 3


def test_what_the_model_needs_of_its_inputs_is_a_condition_and_a_message() -> None:
    found = facts("g (float[n, k] x, float[m, 5] y) => (float[n, 5] z) { z = MatMul(x, y) }")
    dims = {d for shape in found["inputs"].values() for d in shape if isinstance(d, str)}
    for constraint in found["constraints"]:
        assert "z (MatMul)" in constraint["message"]
        eval(constraint["condition"], {}, dict.fromkeys(dims | {"k", "m"}, 3))
    assert found["constraints"] or found["inputs"]["x"][1] == found["inputs"]["y"][0]


def test_weights_are_not_printed() -> None:
    text = str(
        tvm_sod2.analyze(
            tvm_sod2.from_onnx(
                parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {SHAPES}')
            )
        )
    )
    assert "shape: int64 [3] = [n, 3, w]" in text
    assert "weight" not in text


def test_a_module_that_is_not_from_onnx_goes_by_relax_names() -> None:
    @I.ir_module
    class Module:
        @R.function
        def main(x: R.Tensor(("n", 4), "float32")):
            with R.dataflow():
                y = R.nonzero(x)
                R.output(y)
            return y

    report = tvm_sod2.analyze(Module)
    assert report.inputs == {"x": ("n", 4)}
    assert report.values["y"].dims == (2, None)
    assert "y: int64 [2, ?]  (? by " in str(report)


N, M = tirx.Var("n", "int64"), tirx.Var("m", "int64")


@pytest.mark.parametrize(
    ("expr", "meant"),
    [
        (tirx.truncdiv(N - 5, tirx.const(3, "int64")), lambda n, m: int((n - 5) / 3)),
        (tirx.truncmod(N - 5, tirx.const(3, "int64")), lambda n, m: n - 5 - 3 * int((n - 5) / 3)),
        (tirx.truncdiv(N - 5, 4 - M), lambda n, m: int((n - 5) / (4 - m))),
        (tirx.if_then_else(N > 3, N, M) * 2, lambda n, m: (n if n > 3 else m) * 2),
        (
            tirx.Select(tirx.And(N > 3, M < 5), N % 3, N // -2),
            lambda n, m: n % 3 if n > 3 and m < 5 else n // -2,
        ),
    ],
)
def test_expressions_mean_the_same_in_python(expr: tvm.ir.Expr, meant: Any) -> None:
    text = to_python(expr)
    for n in range(10):
        for m in (0, 1, 3, 5, 8):
            assert eval(text, {"min": min, "max": max}, {"n": n, "m": m}) == meant(n, m), text


def test_a_dim_is_not_named_like_a_function_of_expressions() -> None:
    found = facts("g (float[max, min] x) => (float[a, b] y) { y = Concat<axis = 0>(x, x) }")
    assert found["inputs"] == {"x": ["max_", "min_"]}
    assert found["values"]["y"]["dims"] == ["max_ * 2", "min_"]


def test_one_symbol_for_two_sizes_of_the_run_stays_unknown() -> None:
    @I.ir_module
    class Module:
        @R.function
        def main(x: R.Tensor((6,), "float32")):
            k = T.int64()
            with R.dataflow():
                both = R.unique(x, R.prim_value(1), R.prim_value(1), R.prim_value(0))
                first = R.match_cast(both[0], R.Tensor((k,), "float32"))
                second = R.match_cast(both[1], R.Tensor((k,), "int64"))
                out = (first, second)
                R.output(out)
            return out

    values = tvm_sod2.analyze(Module).to_json()["values"]
    assert values["first"]["dims"] == values["second"]["dims"] == [None]


def test_what_the_run_decides_says_nothing_of_input_dims() -> None:
    @I.ir_module
    class Module:
        @R.function
        def main(x: R.Tensor(("n",), "float32"), z: R.Tensor(("m",), "float32")):
            with R.dataflow():
                both = R.unique(x, R.prim_value(1), R.prim_value(1), R.prim_value(0))
                y = R.add(z, both[0])
                R.output(y)
            return y

    report = tvm_sod2.analyze(Module)
    assert report.inputs == {"x": ("n",), "z": ("m",)}
    assert report.symbols == {}
    assert report.values["y"].dims == (None,)  # m, unless the other one is not 1
