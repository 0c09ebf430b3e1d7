"""Half of onnx's core node tests through the whole pipeline: every fourth case with symbolic dims,
every fourth as it is. scripts/node_tests.py, which runs them, also runs all.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "node_tests.py"


@pytest.mark.parametrize(("part", "more"), [("0/4", ["--symbolic"]), ("2/4", [])])
def test_core_cases_pass(part: str, more: list[str], tmp_path: Path) -> None:
    state = tmp_path / "verdicts.jsonl"
    command = [sys.executable, str(SCRIPT), "--core", "--part", part, "--state", str(state), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = map(json.loads, state.read_text().splitlines())
    verdicts = {name: (kind, reason) for name, kind, reason in lines}
    assert not {name: found for name, found in verdicts.items() if found[0] != "passed"}
    assert len(verdicts) > 240
