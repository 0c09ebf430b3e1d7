"""RDP on the onnx package's node tests: every dim and entry it finds is the one the case expects.

All dims of the inputs symbolic, and as the cases have them; scripts/rdp_comparison.py compares.
"""

from __future__ import annotations

import numpy as np
import pytest
from node_cases import stock_cases, symbolic

from scripts.node_test_cases import Case
from scripts.rdp_comparison import Tally, bind, compare, survey
from tvm_sod2 import analyze, from_onnx
from tvm_sod2.errors import ImportModelError


def _tally(case: Case) -> Tally | None:
    """What RDP got wrong on one case, None where the case cannot be imported."""
    try:
        mod = from_onnx(case.model)
    except ImportModelError:
        return None
    report = analyze(mod).to_json()
    tally = Tally(case.name)
    names = [value.name for value in case.model.graph.input]
    feed = dict(zip(names, map(np.asarray, case.inputs), strict=True))
    outputs = [value.name for value in case.model.graph.output if value.name]
    arrays = dict(zip(outputs, map(np.asarray, case.outputs), strict=True))
    survey(report, arrays, tally)
    compare(report, arrays, bind(report, feed, tally), tally)
    return tally


def _random(case: Case) -> bool:
    """Whether the case expects a random mask, which a run refuses."""
    return case.name.startswith("test_training_dropout") and "zero_ratio" not in case.name


@pytest.mark.parametrize("dims", ["known", "symbolic"])
def test_dims_and_entries_of_node_tests(dims: str) -> None:
    cases = stock_cases() if dims == "known" else map(symbolic, stock_cases())
    tallies = [tally for case in cases if not _random(case) and (tally := _tally(case))]
    wrong = {t.model: t.mismatches for t in tallies if t.mismatches}
    assert not wrong
    assert len(tallies) > 750
    assert sum(t.checks for t in tallies) > 1500
