"""Sequences and optionals on the command line, in signatures and in libraries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from tvm_sod2 import cli, from_onnx
from tvm_sod2.errors import InputError
from tvm_sod2.metadata import describe
from tvm_sod2.signature import Signature, Value

MODEL = """<ir_version: 9, opset_import: ["" : 18]>
graph (float[n,3] x, seq(float[k,3]) s, optional(float[m]) o)
    => (seq(float[a,3]) r, optional(float[m]) q, optional(seq(float[a,3])) p, float[t,3] y) {
    r = SequenceInsert (s, x)
    q = Identity (o)
    p = Optional (s)
    y = ConcatFromSequence <axis = 0> (r)
}"""

SIGNATURE = Signature(
    inputs=(
        Value("x", "float32", ("n", 3)),
        Value("s", "float32", ("?", 3), "sequence"),
        Value("o", "float32", ("?",), "optional"),
    ),
    outputs=(
        Value("r", "float32", ("?", 3), "sequence"),
        Value("q", "float32", ("?",), "optional"),
        Value("p", "float32", ("?", 3), "optional sequence"),
        Value("y", "float32", ("y_d0", 3)),
    ),
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    arrays = [np.arange(6, dtype="float32").reshape(2, 3), np.ones((1, 3), "float32")]
    np.savez(tmp_path / "s.npz", *arrays)
    np.savez(tmp_path / "none.npz")
    np.savez(tmp_path / "ints.npz", np.ones((1, 3), "int64"))
    np.save(tmp_path / "o.npy", np.arange(4, dtype="float32"))
    return {name: tmp_path / name for name in ("s.npz", "none.npz", "ints.npz", "o.npy")}


def test_the_signature_tells_of_them() -> None:
    found = describe(from_onnx(onnx.parser.parse_model(MODEL)))
    assert found.inputs == SIGNATURE.inputs
    assert found.outputs[:3] == SIGNATURE.outputs[:3]
    assert str(found.inputs[1]) == "s: sequence of float32 [?, 3]"
    assert Signature.from_json(SIGNATURE.to_json()) == SIGNATURE


def test_a_library_written_before_there_were_kinds_is_read() -> None:
    fields = json.loads(SIGNATURE.to_json())
    for value in fields["inputs"]:
        del value["kind"]
    assert {v.kind for v in Signature.from_json(json.dumps(fields)).inputs} == {"tensor"}


def test_run_a_model_and_a_library(
    model: Path, files: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "model.so"
    assert cli.main(["compile", str(model), "-o", str(library)]) == 0
    for what, given in ((model, "s.npz"), (library, "s.npz"), (library, "none.npz")):
        capfd.readouterr()
        out = tmp_path / "out.npz"
        argv = ["run", str(what), "--shape", "x=2x3", "--input", f"s={files[given]}"]
        assert cli.main([*argv, "--output", str(out)]) == 0
        printed = capfd.readouterr().out
        count = 2 if given == "s.npz" else 0
        assert f"output  r  sequence of length {count + 1}" in printed
        assert f"output  p  sequence of length {count}" in printed
        assert "output  q  nothing" in printed
        read = np.load(out)
        names = [f"r[{i}]" for i in range(count + 1)] + [f"p[{i}]" for i in range(count)]
        assert sorted(read.files) == sorted([*names, "y"])
        np.testing.assert_array_equal(read["y"][-2:], read[f"r[{count}]"])
    argv += ["--input", f"o={files['o.npy']}"]
    assert cli.main(argv) == 0
    assert "output  q  float32 4  min 0  max 3" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "input 's' needs --input s=FILE.npz with its tensors in order; expected s: sequence"),
        (["--shape", "s=2x3"], "input 's' needs --input s=FILE.npz"),
        (["--input", "s={o.npy}"], "holds one array, expected several (.npz)"),
        (["--input", "s={ints.npz}"], "input 's' has dtype int64, expected float32"),
        (["--input", "s={s.npz}", "--input", "o={s.npz}"], "holds several arrays, expected one"),
    ],
)
def test_what_is_not_of_its_kind_is_refused(
    model: Path,
    files: dict[str, Path],
    options: list[str],
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, path in files.items():
        options = [option.replace(f"{{{name}}}", str(path)) for option in options]
    assert cli.main(["run", str(model), "--shape", "x=2x3", *options]) == 2
    assert message in capfd.readouterr().err


def test_bind_names_what_is_given_instead() -> None:
    x, s = np.zeros((2, 3), "float32"), [np.zeros((1, 3), "float32")]
    assert SIGNATURE.bind({"x": x, "s": s, "o": None}) == {"n": 2}
    for given, message in (
        ({"x": x, "s": x, "o": None}, "input 's' is given an array; expected s: sequence"),
        ({"x": s, "s": s, "o": None}, "input 'x' is given a list"),
        ({"x": x, "s": None, "o": None}, "input 's' is given None"),
        ({"x": x, "s": [x, x[0]], "o": None}, "input 's' has rank 1"),
        ({"x": x, "s": [x[:, :2]], "o": None}, "input 's': dim 1 is 2, expected 3"),
    ):
        with pytest.raises(InputError, match=message):
            SIGNATURE.bind(given)


def test_inspect_prints_them(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(model)]) == 0
    printed = capfd.readouterr().out
    assert printed.startswith("main(x: [n, 3])\n")
    assert "output  p: optional sequence of float32 [?, 3]" in printed
