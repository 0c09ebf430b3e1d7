"""The library's description of itself: recorded, refreshed, compiled in, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

from tvm_sod2.errors import InputError, Sod2Error
from tvm_sod2.metadata import describe, emit_metadata, read_signature, record_signature
from tvm_sod2.signature import Signature, Value


@I.ir_module
class TwoInputs:
    @R.function
    def main(x: R.Tensor(("n", 3, "w"), "float32"), y: R.Tensor(("n",), "int64")) -> R.Tuple(
        R.Tensor(("n", 3, "w * 2"), "float32"), R.Tensor(("n",), "int64")
    ):
        with R.dataflow():
            wide = R.concat((x, x), axis=2)
            same = R.add(y, y)
            R.output(wide, same)
        return (wide, same)


SIGNATURE = Signature(
    inputs=(Value("x", "float32", ("n", 3, "w")), Value("y", "int64", ("n",))),
    outputs=(Value("wide", "float32", ("n", 3, "w * 2")), Value("same", "int64", ("n",))),
)


def library(mod: tvm.IRModule) -> relax.VirtualMachine:
    executable = tvm.compile(mod, tvm.target.Target({"kind": "llvm"}))
    return relax.VirtualMachine(executable, tvm.cpu())


def test_describe_names_dtypes_and_dims() -> None:
    assert describe(TwoInputs) == SIGNATURE


def test_onnx_names_win_and_survive_a_renaming_of_the_outputs() -> None:
    mod = TwoInputs.clone()
    mod["main"] = mod["main"].with_attr("sod2.onnx_values", {"x": "in/x:0", "wide": "out.wide"})
    mod = record_signature(mod)
    mod["main"] = mod["main"].without_attr("sod2.onnx_values")
    again = describe(record_signature(mod))
    assert [v.name for v in again.inputs] == ["in/x:0", "y"]
    assert [v.name for v in again.outputs] == ["out.wide", "same"]


def test_json_round_trip() -> None:
    assert Signature.from_json(SIGNATURE.to_json()) == SIGNATURE


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 99}'])
def test_damaged_json_is_refused(text: str) -> None:
    with pytest.raises(Sod2Error):
        Signature.from_json(text)


def test_exported_library_answers_for_itself(tmp_path: Path) -> None:
    mod = record_signature(TwoInputs)
    mod["main"] = mod["main"].with_attr("sod2.arena_bytes", "64 * n")
    executable = tvm.compile(emit_metadata(mod), tvm.target.Target({"kind": "llvm"}))
    executable.export_library(str(tmp_path / "lib.so"))
    vm = relax.VirtualMachine(tvm.runtime.load_module(str(tmp_path / "lib.so")), tvm.cpu())
    signature = read_signature(vm)
    assert signature.inputs == SIGNATURE.inputs
    assert signature.outputs == SIGNATURE.outputs
    assert signature.arena_bytes == "64 * n"


def test_a_library_of_somebody_else_is_refused() -> None:
    with pytest.raises(Sod2Error, match="not a library built by tvm-sod2"):
        read_signature(library(emit_metadata(TwoInputs)))


def zeros(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.zeros(shape, dtype)


def test_bind_gives_the_size_of_every_named_dim() -> None:
    arrays = {"x": zeros(2, 3, 8), "y": zeros(2, dtype="int64")}
    assert SIGNATURE.bind(arrays) == {"n": 2, "w": 8}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": zeros(2, 3, 8)}, r"input 'y' is missing; expected y: int64 \[n\]"),
        ({"z": zeros(1)}, r"no input 'z'; its inputs are x: float32 \[n, 3, w\]; y: int64 \[n\]"),
        ({"x": zeros(2, 3, 8, dtype="float64")}, "input 'x' has dtype float64, expected float32"),
        ({"x": zeros(2, 3)}, r"input 'x' has rank 2 \(shape \(2, 3\)\), expected rank 3"),
        ({"x": zeros(2, 4, 8)}, "input 'x': dim 1 is 4, expected 3"),
        (
            {"x": zeros(2, 3, 8), "y": zeros(5, dtype="int64")},
            r"input 'y': dim 0 \(n\) is 5, expected 2 as in dim 0 of input 'x'",
        ),
    ],
)
def test_wrong_inputs_are_named(arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SIGNATURE.bind(arrays)
