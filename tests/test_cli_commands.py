"""The commands of the command line at work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import tvm
from onnx import TensorProto, helper, numpy_helper

from tests.one_node import save
from tvm_sod2 import cli
from tvm_sod2.errors import BuildError
from tvm_sod2.pipeline import Phase


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(tmp_path, helper.make_node("Add", ["x", "y"], ["z"], name="sum"))


def console(*argv: object) -> subprocess.CompletedProcess[str]:
    """The installed console script in a process of its own."""
    script = Path(sys.executable).with_name("tvm-sod2")
    return subprocess.run(
        [str(script), *map(str, argv)], capture_output=True, text=True, check=False
    )


def test_console_script_is_installed() -> None:
    done = console("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("tvm-sod2 ")
    help_ = console("--help").stdout
    for command in ("compile", "run", "inspect", "demo"):
        assert command in help_


def test_help_does_not_import_tvm() -> None:
    code = (
        "import sys, tvm_sod2.cli as cli\n"
        "try: cli.main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'tvm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_compile_then_run_the_library(model: Path) -> None:
    library, results = model.with_name("lib.so"), model.with_name("out.npz")
    done = console("compile", model, "-o", library, "--bound", "n=1:512", "--winograd", 2)
    assert done.returncode == 0, done.stderr
    assert "1/" in done.stderr  # progress
    assert sorted(p.name for p in model.parent.iterdir()) == ["lib.so", "model.onnx"]

    x, y = np.random.rand(5, 3).astype("float32"), np.random.rand(5, 1).astype("float32")
    np.save(model.with_name("x.npy"), x)
    np.save(model.with_name("y.npy"), y)
    inputs = [f"--input={name}={model.with_name(name)}.npy" for name in "xy"]
    done = console("run", library, *inputs, "--output", results, "--threads", 1, "--repeat", 3)
    assert done.returncode == 0, done.stderr
    assert "output  z  float32 5x3" in done.stdout
    assert "median of 3" in done.stdout
    np.testing.assert_allclose(np.load(results)["z"], x + y, rtol=1e-6)


def test_library_runs_where_tvm_sod2_is_not(model: Path) -> None:
    library = model.with_name("lib.so")
    assert cli.main(["compile", str(model), "-o", str(library)]) == 0
    code = (
        "import sys; sys.modules['tvm_sod2'] = None\n"  # importing it would raise
        "import numpy as np, tvm\n"
        f"vm = tvm.relax.VirtualMachine(tvm.runtime.load_module({str(library)!r}), tvm.cpu())\n"
        "ones = lambda *s: tvm.runtime.tensor(np.ones(s, 'float32'))\n"
        "assert (vm['main'](ones(4, 3), ones(4, 1)).numpy() == 2).all()\n"
        "assert '\"arena_bytes\"' in vm['sod2_metadata']()\n"
    )
    env = {**os.environ, "TVM_DEVICE_BACKEND_AUTOLOAD": "0"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


def test_run_a_model_with_random_inputs(capfd: pytest.CaptureFixture[str], model: Path) -> None:
    folder = model.with_name("results")
    argv = ["run", model, "--shape", "x=2x3", "--shape", "y=2x1", "--output", folder]
    first, second = folder / "z.npy", folder / "again.npy"
    assert cli.main([*map(str, argv), "--seed", "7"]) == 0
    printed = capfd.readouterr().out
    for said in ("input   x  float32 2x3", "output  z  float32 2x3  min", "mean", "time", "arena"):
        assert said in printed
    assert "GFLOP/s" not in printed
    first.rename(second)
    assert cli.main([*map(str, argv), "--seed", "7", "--profile"]) == 0
    printed = capfd.readouterr().out
    for said in ("GFLOP/s", "elementwise", "total", "peak: "):
        assert said in printed
    np.testing.assert_array_equal(np.load(first), np.load(second))


def test_inspect(capfd: pytest.CaptureFixture[str], model: Path) -> None:
    assert cli.main(["inspect", str(model)]) == 0
    text = capfd.readouterr().out
    for said in ("arena", "phases", "x", "n", ": rule schedule_"):
        assert said in text
    assert cli.main(["inspect", str(model), "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts["inputs"] == {"x": ["n", 3], "y": ["n", 1]}
    assert facts["outputs"] == [
        {"name": "z", "dtype": "float32", "dims": ["n", 3], "kind": "tensor"}
    ]
    assert facts["values"]["z"]["dims"] == ["n", 3]
    assert facts["dims"] == {"known": 3, "symbolic": 3, "expression": 0, "unknown": 0}
    assert [phase["name"] for phase in facts["phases"]][:2] == ["frontend", "rdp"]
    assert facts["arena_bytes"] == "0"
    assert all(kernel.startswith("rule ") for kernel in facts["kernels"].values())
    assert "error" not in facts


def test_inspect_tells_how_versions_are_chosen(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Kernels with versions, and functions in two that operands' dims choose between."""
    weight = np.ones((64, 70, 3, 3), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Add", ["c", "b"], ["y"]),
    ]
    dims = {"x": ["n", 70, "h", "w"], "b": ["n", 64, "p", "q"], "y": [None] * 4}
    x, b, y = (helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in dims.items())
    graph = helper.make_graph(
        nodes, "versions", [x, b], [y], [numpy_helper.from_array(weight, "w")]
    )
    path = tmp_path / "versions.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    assert cli.main(["inspect", str(path), "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts["equal_if"]
    chosen = [k for k in facts["kernels"].values() if k.startswith("least of winograd 4x4 ")]
    assert chosen and all(" at 9 * pixels" in kernel for kernel in chosen)


def test_inspect_tells_facts_of_a_model_whose_build_fails(
    capfd: pytest.CaptureFixture[str], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @tvm.transform.module_pass(opt_level=0, name="Fails")
    def fails(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        raise BuildError("no kernel for this")

    monkeypatch.setattr("tvm_sod2.pipeline.phases", lambda target: [Phase("schedules", [fails])])
    assert cli.main(["inspect", str(model)]) == 0
    assert "build fails: phase schedules: no kernel for this" in capfd.readouterr().out
    assert cli.main(["inspect", str(model), "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts["error"] == "phase schedules: no kernel for this"
    assert facts["values"]["z"]["dims"] == ["n", 3]
    assert facts["arena_bytes"] is None
