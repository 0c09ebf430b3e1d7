"""Compare what RDP says of every intermediate value with what ONNX Runtime computes.

See rdp_comparison.py for how. Exit status 1 on any mismatch.

Usage: python scripts/rdp_oracle.py [model ...] [--shapes 5] [--seed 0] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from rdp_comparison import Tally, check_model

from tvm_sod2.errors import Sod2Error
from tvm_sod2.models import fetch, names


def table(tallies: list[Tally]) -> str:
    """The findings as a table in Markdown."""
    lines = [
        "| model | values | dims | without RDP | resolved | entries | comparisons | mismatches |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for t in tallies:
        lines.append(
            f"| {t.model} | {t.intermediates} | {t.dims} | {t.without:.0f} % | "
            f"{t.coverage:.4g} % | {t.entries} | {t.checks} | {len(t.mismatches)} |"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", help="names as scripts/fetch_models.py lists them")
    parser.add_argument("--shapes", type=int, default=5, help="random shapes for each model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the findings to this file, too")
    arguments = parser.parse_args(argv)
    wanted = arguments.models or [name for name in names() if not name.endswith(".txt")]
    tallies, skipped = [], []
    for index, name in enumerate(wanted):
        print(f"[{index + 1}/{len(wanted)}] {name}", file=sys.stderr, flush=True)
        path = fetch(name, progress=lambda line: print(f"  {line}", file=sys.stderr))
        try:
            rng = np.random.default_rng([arguments.seed, *name.encode()])
            tallies.append(check_model(path, rng, arguments.shapes))
        except Sod2Error as error:
            skipped.append(f"{name}: {str(error).splitlines()[0]}")
    print(table(tallies))
    for tally in tallies:
        for value, node in tally.unresolved.items():
            print(f"unresolved: {tally.model}: {value} by {node}")
    for line in skipped:
        print(f"not imported: {line}")
    mismatches = [f"{tally.model}: {line}" for tally in tallies for line in tally.mismatches]
    for line in mismatches:
        print(f"MISMATCH: {line}")
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(tally) for tally in tallies], indent=1))
    return 1 if mismatches or (skipped and arguments.models) else 0


if __name__ == "__main__":
    sys.exit(main())
