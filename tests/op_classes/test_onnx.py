"""The table of ONNX operators, and the page that is made from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tvm_sod2.op_classes import Dynamism, Mapping
from tvm_sod2.op_classes.onnx import ONNX_ROWS

_ROOT = Path(__file__).parents[2]
_SCHEMAS = {s.name: s for s in onnx.defs.get_all_schemas() if s.domain == ""}


def test_at_least_150_operators_are_listed_and_onnx_has_them_all() -> None:
    assert len(ONNX_ROWS) >= 150
    assert sorted(set(ONNX_ROWS) - set(_SCHEMAS)) == []


def test_only_shape_giving_inputs_that_an_operator_has_are_named() -> None:
    for name, row in ONNX_ROWS.items():
        known = {given.name for given in _SCHEMAS[name].inputs}
        assert set(row.shape_inputs) <= known, name
        assert bool(row.shape_inputs) == (row.dynamism is Dynamism.ISVDOS), name


def test_only_isvdos_is_demoted() -> None:
    for row in ONNX_ROWS.values():
        changed = row.demoted is not row.dynamism
        assert changed == (row.dynamism is Dynamism.ISVDOS)
        assert row.why


@pytest.mark.parametrize(
    ("dynamism", "names"),
    [
        (Dynamism.ISDO, "Shape Size ConstantOfShape EyeLike"),
        (Dynamism.ISDOS, "Conv MatMul Add MaxPool Concat Gather ReduceSum Softmax"),
        (Dynamism.ISVDOS, "Reshape Range Expand Slice Resize Tile Pad TopK OneHot"),
        (Dynamism.EDO, "NonZero Unique Compress NonMaxSuppression If Loop"),
    ],
)
def test_the_papers_examples(dynamism: Dynamism, names: str) -> None:
    assert {name: ONNX_ROWS[name].dynamism for name in names.split()} == dict.fromkeys(
        names.split(), dynamism
    )


@pytest.mark.parametrize(
    ("mapping", "names"),
    [
        (Mapping.ONE_TO_ONE, "Add Relu Cast Clip Where Concat Slice Split BatchNormalization"),
        (Mapping.ONE_TO_MANY, "Expand Gather Resize Tile"),
        (Mapping.MANY_TO_MANY, "Conv MatMul ReduceSum Softmax MaxPool LayerNormalization"),
        (Mapping.REORGANIZE, "Reshape Flatten Squeeze"),
        (Mapping.SHUFFLE, "Transpose DepthToSpace"),
    ],
)
def test_dnnfusions_examples(mapping: Mapping, names: str) -> None:
    assert {name: ONNX_ROWS[name].mapping for name in names.split()} == dict.fromkeys(
        names.split(), mapping
    )


def test_the_page_is_up_to_date() -> None:
    script = _ROOT / "scripts" / "operator_table.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
