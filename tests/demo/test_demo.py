"""The whole demo, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tvm_sod2.demo.ocr import MODEL, TEXTS, Reading

READING = Reading(("Hi",), ("Hi",), (1, 3, 48, 96), 64, 0.1, 0.2, 1e-6)


@pytest.mark.parametrize(
    ("reading", "good"),
    [
        (READING, True),
        (replace(READING, read=("Hl",)), False),
        (replace(READING, difference=1e-3), True),
        (replace(READING, difference=2e-3), False),
        (replace(READING, difference=float("nan")), False),
    ],
)
def test_good_is_read_as_drawn_and_as_onnx_runtime(reading: Reading, good: bool) -> None:
    assert reading.good is good


@pytest.mark.model
def test_reads_every_line_within_two_minutes(models: Callable[[str], Path]) -> None:
    models(MODEL)
    environment = {k: v for k, v in os.environ.items() if k != "TVM_NUM_THREADS"}
    script = Path(sys.executable).with_name("tvm-sod2")
    done = subprocess.run(
        [str(script), "demo"], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("building") >= 9  # progress, phase by phase
    rows = done.stdout.splitlines()
    for text in TEXTS:
        assert sum(text in row for row in rows) == 2  # alone and in the batch
    assert any("3x3x48x" in row for row in rows)
    assert "1 thread each" in done.stdout
