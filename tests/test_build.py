"""build() on modules from everywhere, and through TVM's own compile by the pipeline's name."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax
from tvm.relax.frontend import nn
from tvm.relax.frontend.onnx import from_onnx as stock_from_onnx
from tvm.script import ir as I
from tvm.script import relax as R

import tvm_sod2
from tvm_sod2.errors import BuildError

Compile = Callable[[tvm.IRModule], tvm.runtime.Executable]

WAYS: dict[str, Compile] = {
    "build": tvm_sod2.build,
    "compile": lambda mod: tvm.compile(mod, relax_pipeline="sod2"),
}


@pytest.fixture(params=WAYS)
def compile_by(request: pytest.FixtureRequest) -> Compile:
    return WAYS[request.param]


def call(executable: tvm.runtime.Executable, name: str, *arrays: np.ndarray) -> np.ndarray:
    function = relax.VirtualMachine(executable, tvm.cpu())[name]
    return function(*map(tvm.runtime.tensor, arrays)).numpy()


@I.ir_module
class Branches:
    @R.function
    def main(
        x: R.Tensor(("n", "m", 16), "float32"),
        w: R.Tensor((16, 24), "float32"),
        c: R.Tensor((), "bool"),
    ):
        with R.dataflow():
            a = R.matmul(x, w)
            s = R.nn.softmax(a, axis=-1)
            R.output(s)
        if c:
            y = R.nn.relu(s)
            z = R.add(y, R.const(1.0, "float32"))
        else:
            y = R.negative(s)
            z = R.multiply(y, R.const(2.0, "float32"))
        return z


def test_tvmscript_with_control_flow(compile_by: Compile) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(16, 24)).astype(np.float32)
    executable = compile_by(Branches)
    for n, m in [(1, 1), (3, 7), (2, 64)]:
        x = rng.normal(size=(n, m, 16)).astype(np.float32)
        product = x.astype(np.float64) @ weight
        power = np.exp(product - product.max(-1, keepdims=True))
        softmax = power / power.sum(-1, keepdims=True)
        for taken, expected in [(True, softmax + 1), (False, -2 * softmax)]:
            found = call(executable, "main", x, weight, np.array(taken))
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


class Perceptron(nn.Module):
    def __init__(self) -> None:
        self.norm = nn.LayerNorm(32)
        self.first = nn.Linear(32, 64)
        self.second = nn.Linear(64, 10)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        return self.second(nn.op.gelu(self.first(self.norm(x))))


def perceptron() -> tuple[tvm.IRModule, dict[str, np.ndarray]]:
    spec = {"forward": {"x": nn.spec.Tensor(["batch", 32], "float32")}}
    mod, parameters = Perceptron().export_tvm(spec=spec)
    rng = np.random.default_rng(1)
    return mod, {n: rng.normal(size=p.shape).astype(np.float32) for n, p in parameters}


def perceptron_in_float64(x: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    x = x.astype(np.float64)
    centred = x - x.mean(-1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    hidden = (normal * p["norm.weight"] + p["norm.bias"]) @ p["first.weight"].T + p["first.bias"]
    gelu = 0.5 * hidden * (1 + np.vectorize(math.erf)(hidden / np.sqrt(2)))
    return gelu @ p["second.weight"].T + p["second.bias"]


def test_an_exported_nn_module_with_parameters_as_arguments(compile_by: Compile) -> None:
    mod, parameters = perceptron()
    executable = compile_by(mod)
    for batch in (1, 13, 40):
        x = np.random.default_rng(batch).normal(size=(batch, 32)).astype(np.float32)
        found = call(executable, "forward", x, *parameters.values())
        expected = perceptron_in_float64(x, parameters)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_an_exported_nn_module_with_parameters_bound() -> None:
    mod, parameters = perceptron()
    executable = tvm_sod2.build(mod, params=parameters)
    x = np.random.default_rng(2).normal(size=(7, 32)).astype(np.float32)
    expected = perceptron_in_float64(x, parameters)
    found = call(executable, "forward", x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def small_onnx() -> onnx.ModelProto:
    rng = np.random.default_rng(3)
    weights = {
        "w": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "b": rng.normal(size=8).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Mul", ["r", "g"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8, "h2", "w2"])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def test_a_module_of_tvms_own_onnx_importer(compile_by: Compile) -> None:
    model = small_onnx()
    session = onnxruntime.InferenceSession(model.SerializeToString())
    executable = compile_by(stock_from_onnx(model, keep_params_in_input=False))
    for shape in [(1, 3, 5, 7), (2, 3, 32, 31), (1, 3, 1, 1)]:
        x = np.random.default_rng(4).normal(size=shape).astype(np.float32)
        (expected,) = session.run(None, {"x": x})
        found = call(executable, "main", x)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_saved_library_runs_where_tvm_sod2_is_not_installed(tmp_path: Path) -> None:
    library = tmp_path / "model.so"
    tvm_sod2.build(tvm_sod2.from_onnx(small_onnx())).export_library(str(library))
    x = np.random.default_rng(5).normal(size=(2, 3, 9, 14)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    script = textwrap.dedent(
        """
        import sys
        sys.modules["tvm_sod2"] = None  # any import of it fails
        import numpy as np, tvm
        from tvm import relax
        vm = relax.VirtualMachine(tvm.runtime.load_module("model.so"), tvm.cpu())
        np.save("y.npy", vm["main"](tvm.runtime.tensor(np.load("x.npy"))).numpy())
        assert not any(name.startswith("tvm_sod2.") for name in sys.modules)
        """
    )
    run = [sys.executable, "-W", "ignore", "-c", script]
    subprocess.run(run, cwd=tmp_path, check=True, timeout=120)
    session = onnxruntime.InferenceSession(small_onnx().SerializeToString())
    (expected,) = session.run(None, {"x": x})
    found = np.load(tmp_path / "y.npy")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_no_executable_calls_python() -> None:
    @I.ir_module
    class ShapeAsData:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32")):
            with R.dataflow():
                s = R.shape_to_tensor(R.shape_of(x))
                y = R.multiply(s, R.const([2, 3], "int64"))
                R.output(y)
            return y

    executable = tvm_sod2.build(ShapeAsData)
    assert "relax.run." not in executable.as_text()
    found = call(executable, "main", np.zeros((4, 5), np.float32))
    assert found.tolist() == [8, 15]


def test_each_phase_is_reported_and_dumped(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    tvm_sod2.build(
        Branches,
        dump_dir=tmp_path,
        progress=lambda *phase: told.append(phase),
    )
    assert [number for _, number, _ in told] == list(range(told[0][2]))
    assert len(list(tmp_path.glob("*.py"))) == len(told)


def test_bounds_are_checked_at_entry() -> None:
    @I.ir_module
    class Bounded:
        @R.function
        def main(x: R.Tensor(("n",), "float32")):
            with R.dataflow():
                y = R.nn.relu(x)
                R.output(y)
            return y

    executable = tvm_sod2.build(Bounded, bounds={"n": (2, 8)})
    assert call(executable, "main", np.ones(8, np.float32)).shape == (8,)
    with pytest.raises(ValueError, match="dim n must be at most 8"):
        call(executable, "main", np.ones(9, np.float32))


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"q": (1, 2)}, "no input has a dim called q; the dims are: m, n"),
        ({"n": (5, 2)}, "bound of dim 'n' is 5:2, expected 0 <= low <= high"),
    ],
)
def test_wrong_bounds_are_refused(bounds: dict[str, tuple[int, int]], message: str) -> None:
    with pytest.raises(BuildError, match=message):
        tvm_sod2.build(Branches, bounds=bounds)


@I.ir_module
class Convolved:
    @R.function
    def main(x: R.Tensor(("n", 16, "h", "w"), "float32"), k: R.Tensor((24, 16, 3, 3), "float32")):
        with R.dataflow():
            y = R.nn.conv2d(x, k, padding=(1, 1))
            R.output(y)
        return y


@pytest.mark.parametrize(
    ("largest", "kernel"), [(4, "winograd 4x4"), (2, "winograd 2x2"), (0, "conv 3x3")]
)
def test_winograd_can_be_limited(largest: int, kernel: str) -> None:
    """As an argument, and as an attribute of a module that TVM compiles."""
    weight = np.random.default_rng(7).standard_normal((24, 16, 3, 3), np.float32)
    bound = relax.transform.BindParams("main", {"k": tvm.runtime.tensor(weight)})(Convolved)
    for executable in (
        tvm_sod2.build(bound, winograd=largest),
        tvm_sod2.build(bound.with_attr("sod2.winograd", largest)),
        tvm.compile(bound.with_attr("sod2.winograd", largest), relax_pipeline="sod2"),
    ):
        notes = json.loads(relax.VirtualMachine(executable, tvm.cpu())["sod2_kernels"]())
        assert any(note["kernel"].startswith(kernel) for note in notes.values())


def test_a_wrong_limit_of_winograd_is_refused() -> None:
    with pytest.raises(BuildError, match="winograd is 6, expected 4, 2 for tiles"):
        tvm_sod2.build(Convolved, winograd=6)


def test_unknown_parameters_are_refused() -> None:
    with pytest.raises(BuildError, match="no function of the module has a parameter called nobody"):
        tvm_sod2.build(Branches, params={"nobody": np.zeros(1)})


def test_targets_that_are_not_supported_are_refused() -> None:
    with pytest.raises(BuildError, match="'hexagon' is not supported; use 'llvm' or a GPU's kind"):
        tvm_sod2.build(Branches, target={"kind": "hexagon"})


def test_long_sums_stay_accurate() -> None:
    """The mean of a large image's pixels: a single running sum would be off by 4e-7."""

    @I.ir_module
    class Pool:
        @R.function
        def main(x: R.Tensor(("n", "h", "w", 40), "float32")):
            with R.dataflow():
                y = R.mean(x, axis=[1, 2])
                R.output(y)
            return y

    x = np.random.default_rng(6).random((1, 61, 83, 40), np.float32)
    error = call(tvm_sod2.build(Pool), "main", x) - x.astype(np.float64).mean((1, 2))
    assert np.sqrt((error**2).mean()) < 1.2e-7
