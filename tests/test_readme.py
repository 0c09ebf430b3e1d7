"""The README's two commands are the two that people and CI run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def commands() -> list[str]:
    """The contents of the README's code blocks."""
    return re.findall(r"^```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL | re.M)


def test_first_command_sets_up_and_runs_the_demo() -> None:
    first = commands()[0].splitlines()
    assert len(first) == 1
    assert first[0].endswith("tvm-sod2 demo")


def test_ci_runs_the_second_command_letter_by_letter() -> None:
    second = commands()[1].splitlines()
    assert len(second) == 1
    assert second[0] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_no_other_code_block_comes_before_them() -> None:
    text = (ROOT / "README.md").read_text()
    assert re.findall(r"^```(\w+)$", text, re.M)[:2] == ["bash", "bash"]
