#!/usr/bin/env python3
"""Writes docs/conformance.md from the verdicts of scripts/node_tests.py in both of its modes.

python scripts/node_tests.py && python scripts/node_tests.py --symbolic
python scripts/conformance_page.py [--known FILE] [--symbolic FILE] [--how "one run of each mode"]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from node_test_cases import all_cases
from node_tests import default_state, read_state

PAGE = Path(__file__).parents[1] / "docs" / "conformance.md"
LONGEST_REASON = 160

_INTRODUCTION = """\
# Node tests of the onnx package

`python scripts/node_tests.py` runs them through the whole pipeline (`tvm_sod2.from_onnx`,
`tvm_sod2.build`, the VM), `--symbolic` with every dim above 1 of every input a symbol, lengths of
shape-giving vectors included; `python scripts/conformance_page.py` writes this page from what both
found. Only cases that ONNX Runtime passes count; core are those of the default domain, without
spelled-out function bodies, strings, fp8, 4-bit numbers and bf16. Tolerances are those of each case
(relative 1e-3, absolute 1e-7 unless it says otherwise). "Refused" is an error by name at import.
Strings are out of scope. Inputs are run-time values in both: axes of reductions, sizes of Resize,
steps of Slice, and so on. The tests run half of the core cases (tests/frontend/test_node_suite.py).
"""

_REMARKS = """\
The expected numbers of test_attention_4d_causal_fp16_expanded were summed in float16 by NumPy; here
they are summed in float32, and differ by two units in the last place of float16.
"""

Verdicts = dict[str, list[str]]


def page(modes: dict[str, Verdicts], core: set[str], how: str) -> str:
    """The text of docs/conformance.md from verdicts by name, for each mode, found as `how` says."""
    lines = [
        _INTRODUCTION,
        "| cases | dims | passed | refused | wrong or failed | of |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for group, wanted in (("core", core), ("all", None)):
        for mode, verdicts in modes.items():
            kinds = Counter(
                kind for name, (kind, _) in verdicts.items() if wanted is None or name in wanted
            )
            total, good, refused = kinds.total(), kinds["passed"], kinds["refused"]
            share = f"{good} ({100 * good / max(total, 1):.1f} %)"
            bad = total - good - refused
            lines.append(f"| {group} | {mode} | {share} | {refused} | {bad} | {total} |")
    lines += ["", *([f"Found by {how}.", ""] if how else []), _REMARKS.rstrip()]
    for mode, verdicts in modes.items():
        lines += ["", f"## What does not pass, dims {mode}", ""]
        lines += ["| case | core | verdict | reason |", "| --- | --- | --- | --- |"]
        for name, (kind, reason) in sorted(verdicts.items()):
            if kind == "passed":
                continue
            text = reason.replace("|", "\\|").replace("`", "'")[:LONGEST_REASON]
            lines.append(f"| {name} | {'yes' if name in core else 'no'} | {kind} | {text} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    for mode in ("known", "symbolic"):
        parser.add_argument(f"--{mode}", type=Path, default=default_state(mode))
    parser.add_argument("--how", default="", help="what the verdicts were found by")
    options = parser.parse_args()
    modes = {"as they are": read_state(options.known), "symbolic": read_state(options.symbolic)}
    core = {name for name, case in all_cases().items() if case.core}
    PAGE.write_text(page(modes, core, options.how))
    return 0


if __name__ == "__main__":
    sys.exit(main())
