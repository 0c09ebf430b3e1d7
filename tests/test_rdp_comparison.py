"""RDP against ONNX Runtime on real models: scripts/rdp_comparison.py at two shapes each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser

from scripts.rdp_comparison import Tally, check_model, compare, survey

INTERMEDIATES = {
    "ch_PP-OCRv4_det_infer": 672,
    "ch_PP-OCRv4_rec_infer": 860,
    "ch_ppocr_mobile_v2.0_cls_infer": 566,
    "320n": 332,
}


@pytest.mark.model
@pytest.mark.parametrize("name", INTERMEDIATES)
def test_every_dim_and_entry_is_what_onnxruntime_computes(
    name: str, models: Callable[[str], Path]
) -> None:
    tally = check_model(models(name), np.random.default_rng(7), count=2)
    assert tally.mismatches == []
    assert tally.intermediates == INTERMEDIATES[name]
    assert tally.coverage == 100
    assert tally.checks > 2 * tally.dims


GATE = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[n, m] x, int64 sr) => (float[a, b] z)
<int64 low = {8000}>
{
  c = Equal(sr, low)
  y = If (c) <
    then_branch = yes () => (float[a, b] twice) {
      both = Concat<axis = 1>(x, x)
      twice = Neg(both)
    },
    else_branch = no () => (float[a, b] same) { same = Relu(x) }
  >
  z = Concat<axis = 1>(y, x)
}
"""


def test_arms_are_compared_where_they_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "gate.onnx"
    onnx.save(parser.parse_model(GATE), path)
    tally = check_model(path, np.random.default_rng(0), count=8)
    assert tally.mismatches == []
    assert tally.intermediates == 6
    assert tally.unresolved == {"y": "y", "z": "y"}
    assert (tally.unresolved_dims, tally.dims) == (2, 10)


REPORT: dict[str, Any] = {
    "symbols": {},
    "values": {
        "good": {"dims": ["n // 2", 3]},
        "shape": {"dims": [2], "value": ["n", 3]},
    },
    "constraints": [{"condition": "n % 2 == 0", "message": "n is odd"}],
}
RIGHT = {"good": np.zeros((2, 3)), "shape": np.array([4, 3])}


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        (RIGHT, []),
        ({"good": np.zeros((3, 3))}, ["good: dim 0 is 3, RDP says n // 2 = 2 at n=4"]),
        ({"good": np.zeros(3)}, ["good: rank is 1, RDP says 2"]),
        ({"shape": np.array([4, 4])}, ["shape: entry 1 is 4, RDP says 3 = 3 at n=4"]),
        ({"lost": np.zeros(3)}, ["lost: not in the report"]),
    ],
)
def test_the_oracle_sees_what_is_wrong(arrays: dict[str, Any], found: list[str]) -> None:
    tally = Tally("model")
    survey(REPORT, arrays, tally)
    compare(REPORT, arrays, {"n": 4}, tally)
    assert tally.mismatches == found


def test_a_condition_that_refuses_a_good_input_is_a_mismatch() -> None:
    tally = Tally("model")
    compare(REPORT, {}, {"n": 5}, tally)
    assert tally.mismatches == ["n is odd is True, RDP says bool(n % 2 == 0) = False at n=5"]
