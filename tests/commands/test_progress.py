"""What a build shows: a bar on a terminal with rich, plain lines everywhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from tvm_sod2.commands.progress import shown

PHASES = ("import", "rdp", "lower")

REPORT = (
    "from tvm_sod2.commands.progress import shown\n"
    "with shown('building x.onnx') as progress:\n"
    "    for index, phase in enumerate(('import', 'rdp', 'lower')): progress(phase, index, 3)\n"
)


def test_plain_lines_where_stderr_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with shown("building x.onnx") as progress:
        for index, phase in enumerate(PHASES):
            progress(phase, index, len(PHASES))
    printed = capfd.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        "building x.onnx: 1/3 import",
        "building x.onnx: 2/3 rdp",
        "building x.onnx: 3/3 lower",
    ]


def on_a_terminal(code: str) -> str:
    """What the code writes when its stderr is a pseudo-terminal."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True, env=env)
    os.close(theirs)
    written = b""
    try:
        while block := os.read(ours, 4096):
            written += block
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    return written.decode()


def test_a_bar_on_a_terminal() -> None:
    assert "\x1b[" in on_a_terminal(REPORT)


def test_lines_on_a_terminal_without_rich() -> None:
    written = on_a_terminal(f"import sys; sys.modules['rich.progress'] = None\n{REPORT}")
    assert "\x1b[" not in written
    assert "3/3 lower" in written
