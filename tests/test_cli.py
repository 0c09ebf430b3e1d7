"""What the command line says when something is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from tests.one_node import save
from tvm_sod2 import cli


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
        (["compile", "m.onnx", "-o", "l.so", "--winograd", "3"], "--winograd: invalid choice: "),
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


def test_a_bound_on_a_dim_the_model_has_not(capfd: pytest.CaptureFixture[str], model: Path) -> None:
    argv = ("compile", model, "-o", model.with_name("lib.so"), "--bound", "seq=1:2")
    message = refused(capfd, *argv)
    assert "seq" in message
    assert "n" in message
