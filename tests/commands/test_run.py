"""The VM's messages reworded, and what becomes of outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tvm_sod2.commands.run import checked, describe_array, plain, write
from tvm_sod2.errors import InputError, Sod2Error

CONTEXT = 'ErrorContext(fn=main, loc=param[1], param=y, annotation=R.Tensor((n,), dtype="int64")) '


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            f"Check failed: input_shape[i] == heap_data[reg] (3 vs. 2) : {CONTEXT} "
            "match_cast error,  shape[0] mismatch to a previous populated value.",
            "input 'y': dim 0 is 3, expected 2",
        ),
        (
            "Check failed: static_cast<size_t>(gfunc.num_args) == args.size() (2 vs. 1) is false: "
            "Invoking function main expects 2 arguments (x, y), but 1 arguments were provided.",
            "Invoking function main expects 2 arguments (x, y), but 1 arguments were provided.",
        ),
        ("\"node 'a': dim 1 of 'y' is m, expected n\"", "node 'a': dim 1 of 'y' is m, expected n"),
        ("first\n  second", "first second"),
        ("", ""),
    ],
)
def test_plain(message: str, said: str) -> None:
    assert plain(message) == said


def test_a_refusal_tells_the_sizes_of_the_dims_it_names() -> None:
    def main(*_: object) -> None:
        raise ValueError("dim n must be at most 5; nm does not count")

    with pytest.raises(InputError, match=r"does not count \(n is 6\)$"):
        checked(main, {"n": 6, "m": 7})()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([[1.5, -2.0]], "float32"), "float32 1x2  min -2  max 1.5  mean -0.25"),
        (np.array(3), "int64 scalar  min 3  max 3  mean 3"),
        (np.array([True, False]), "bool 2  min 0  max 1  mean 0.5"),
        (np.zeros((0, 4), "float32"), "float32 0x4"),
    ],
)
def test_describe_array(array: np.ndarray, said: str) -> None:
    assert describe_array(array) == said


def test_write_an_archive_whatever_the_names(tmp_path: Path) -> None:
    outputs = {name: np.full(3, index) for index, name in enumerate(["file", "a/b:0", "z.y"])}
    write(outputs, tmp_path / "out.npz")
    read = np.load(tmp_path / "out.npz")
    assert sorted(read.files) == sorted(outputs)
    for name, array in outputs.items():
        np.testing.assert_array_equal(read[name], array)


def test_write_a_folder(tmp_path: Path) -> None:
    write({"a/b:0": np.arange(3), "z.y": np.ones(2)}, tmp_path / "deep" / "out")
    assert sorted(p.name for p in (tmp_path / "deep" / "out").iterdir()) == ["a_b_0.npy", "z.y.npy"]


def test_write_refuses_names_that_would_share_a_file(tmp_path: Path) -> None:
    with pytest.raises(Sod2Error, match=r"share a file name: write an \.npz"):
        write({"a/b": np.ones(1), "a:b": np.ones(1)}, tmp_path)


def test_write_says_where_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Sod2Error, match="argument --output: cannot write"):
        write({"a": np.ones(1)}, tmp_path / "file")
