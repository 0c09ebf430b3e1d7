"""The command line: what it says when something is wrong, and that it works when nothing is."""

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
from onnx import TensorProto, helper

from tvm_sod2 import cli
from tvm_sod2.errors import BuildError
from tvm_sod2.pipeline import Phase

FLOAT = TensorProto.FLOAT


def save(folder: Path, node: onnx.NodeProto) -> Path:
    """A model of one node: x [n, 3] and y [n] to z."""
    graph = helper.make_graph(
        [node],
        "graph",
        [
            helper.make_tensor_value_info("x", FLOAT, ["n", 3]),
            helper.make_tensor_value_info("y", FLOAT, ["n", 1]),
        ],
        [helper.make_tensor_value_info("z", FLOAT, ["n", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(tmp_path, helper.make_node("Add", ["x", "y"], ["z"], name="sum"))


def refused(capfd: pytest.CaptureFixture[str], *argv: object) -> str:
    """Run a command that must fail: status 2 and one line on stderr, returned without its head."""
    try:
        status = cli.main([str(arg) for arg in argv])
    except SystemExit as stop:
        status = stop.code
    printed = capfd.readouterr()
    lines = printed.err.splitlines()
    assert status == 2, printed
    assert len(lines) == 1, printed.err
    head = "tvm-sod2: error: "
    assert lines[0].startswith(head), lines
    return lines[0][len(head) :]


COMMANDS = (("compile", "-o", "lib.so"), ("run",), ("inspect",))


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_model(capfd: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    assert "nowhere.onnx" in refused(capfd, *command, "nowhere.onnx")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "content", [b"", b"hello, this is no model", bytes(100)], ids=["empty", "text", "zeros"]
)
def test_not_an_onnx_model(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, command: tuple[str, ...], content: bytes
) -> None:
    path = tmp_path / "text.onnx"
    path.write_bytes(content)
    assert "text.onnx" in refused(capfd, *command, path)


@pytest.mark.parametrize("command", COMMANDS)
def test_truncated_model(
    capfd: pytest.CaptureFixture[str], model: Path, command: tuple[str, ...]
) -> None:
    model.write_bytes(model.read_bytes()[:-7])
    assert "model.onnx" in refused(capfd, *command, model)


@pytest.mark.parametrize("command", COMMANDS)
def test_unsupported_operator_is_named_with_its_node(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    node = helper.make_node("Frobnicate", ["x", "y"], ["z"], name="odd one", domain="acme")
    message = refused(capfd, *command, save(tmp_path, node))
    assert "Frobnicate" in message
    assert "odd one" in message


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "required: COMMAND"),
        (["fly"], "'fly'"),
        (["compile", "m.onnx"], "required: -o"),
        (["compile", "m.onnx", "-o", "lib.txt"], "lib.txt must end in .so"),
        (["compile", "m.onnx", "-o", "no/such/lib.so"], "no folder no/such"),
        (["compile", "m.onnx", "-o", "l.so", "--target", "llvm -o"], "'llvm -o' is not JSON"),
        (["compile", "m.onnx", "-o", "l.so", "--target", "abacus"], "abacus"),
        (["compile", "m.onnx", "-o", "l.so", "--target", "vulkan"], "'vulkan'"),
        (["compile", "m.onnx", "-o", "l.so", "--target", "[]"], "'[]' is not a target"),
        (["compile", "m.onnx", "-o", "l.so", "--target", '{"kind": "abacus"}'], "abacus"),
        (["compile", "m.onnx", "-o", "l.so", "--bound", "n"], "'n' is not DIM=LO:HI"),
        (["compile", "m.onnx", "-o", "l.so", "--bound", "n=1"], "'n=1' is not DIM=LO:HI"),
        (["compile", "m.onnx", "-o", "l.so", "--bound", "n=a:b"], "'n=a:b' is not DIM=LO:HI"),
        (["compile", "m.onnx", "-o", "l.so", "--bound", "n=9:3"], "lower end exceeds the upper"),
        (
            ["compile", "m.onnx", "-o", "l.so", "--bound", "n=1:2", "--bound", "n=1:3"],
            "--bound: 'n' is given twice",
        ),
        (["run", "m.onnx", "--shape", "3x4"], "'3x4' is not NAME=1x3x48x320"),
        (["run", "m.onnx", "--shape", "x=3x-4"], "'x=3x-4' is not NAME="),
        (["run", "m.onnx", "--shape", "x=3,4"], "'x=3,4' is not NAME="),
        (["run", "m.onnx", "--shape", "x=3x"], "'x=3x' is not NAME="),
        (["run", "m.onnx", "--input", "x.npy"], "'x.npy' is not NAME=FILE.npy"),
        (["run", "m.onnx", "--threads", "0"], "'0' is not a whole number"),
        (["run", "m.onnx", "--repeat", "many"], "'many' is not a whole number"),
        (["run", "m.onnx", "--seed", "-1"], "'-1' is not a whole number"),
        (["demo", "more"], "unrecognized arguments: more"),
    ],
)
def test_wrong_arguments(capfd: pytest.CaptureFixture[str], argv: list[str], said: str) -> None:
    assert said in refused(capfd, *argv)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--shape", "x=2x3"], "input 'y' needs --input y=FILE.npy or --shape y=..."),
        (["--shape", "x=2x3", "--shape", "y=5x1"], "dim 0 (n) is 5, expected 2 as in dim 0 of"),
        (["--shape", "x=2x4", "--shape", "y=2x1"], "input 'x': dim 1 is 4, expected 3"),
        (["--shape", "x=2", "--shape", "y=2x1"], "input 'x' has rank 1"),
        (["--shape", "w=2"], "no input 'w'; its inputs are x: float32 [n, 3]; y: float32 [n, 1]"),
        (["--input", "x=none.npy"], "input 'x': there is no file none.npy"),
        (["--input", "x=model.onnx"], "model.onnx is not a .npy file"),
        (["--input", "x=64.npy", "--shape", "y=2x1"], "has dtype float64, expected float32"),
        (["--input", "x=a.npy", "--shape", "x=2x3"], "both as a file and as a shape"),
        (["--shape", f"x={10**15}x3", "--shape", "y=2x1"], "is too large"),
        (["--shape", f"x={10**25}x3", "--shape", "y=2x1"], "is too large"),
    ],
)
def test_wrong_inputs_are_refused_before_the_build(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    model: Path,
    argv: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(model.parent)
    np.save("64.npy", np.zeros((2, 3)))
    assert said in refused(capfd, "run", model, *argv)


def test_library_that_is_none(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    assert "there is no file" in refused(capfd, "run", path)
    path.write_bytes(b"not a library")
    assert "lib.so is not a library" in refused(capfd, "run", path)


def test_a_defect_is_one_line_too(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise KeyError("first line\nsecond line")

    monkeypatch.setattr(cli, "dispatch", broken)
    message = refused(capfd, "demo")
    assert "KeyError" in message
    assert "TVM_SOD2_TRACEBACK=1" in message


@pytest.mark.parametrize("package", ["onnxruntime", "PIL", "rich"])
def test_demo_without_its_extra(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    assert "pip install 'tvm_sod2[demo]'" in refused(capfd, "demo")


def test_demo_with_a_thread_count_that_is_none(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TVM_NUM_THREADS", "two")
    assert "TVM_NUM_THREADS is 'two'" in refused(capfd, "demo")


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
    done = console("compile", model, "-o", library, "--bound", "n=1:512")
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


def test_a_bound_on_a_dim_the_model_has_not(capfd: pytest.CaptureFixture[str], model: Path) -> None:
    argv = ("compile", model, "-o", model.with_name("lib.so"), "--bound", "seq=1:2")
    message = refused(capfd, *argv)
    assert "seq" in message
    assert "n" in message


def test_inspect(capfd: pytest.CaptureFixture[str], model: Path) -> None:
    assert cli.main(["inspect", str(model)]) == 0
    text = capfd.readouterr().out
    for said in ("arena", "phases", "x", "n"):
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
    assert "error" not in facts


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
