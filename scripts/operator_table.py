#!/usr/bin/env python3
"""Writes docs/operators.md from the tables in tvm_sod2/op_classes.

Usage: python scripts/operator_table.py [--check]   (--check: exit status 1 when it is out of date)
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tvm_sod2.frontend.converters import CONVERTERS
from tvm_sod2.op_classes import ROWS, Dynamism
from tvm_sod2.op_classes.onnx import ONNX_ROWS
from tvm_sod2.op_classes.table import NO_ROW

PAGE = Path(__file__).parents[1] / "docs" / "operators.md"

_INTRODUCTION = """\
# Operators and their classes

Written by `python scripts/operator_table.py` from `tvm_sod2/op_classes`; a test compares.

What an operator's output depends on decides how much of it is known before the program runs. The
four classes are SoD2's (ASPLOS 2024), the mapping types, which decide what fuses with what,
DNNFusion's (PLDI 2021).
"""

_ONNX = """\
## ONNX operators

An ISVDOS operator behaves as ISDOS once its shape-giving inputs are constant, or once Rank and
Dimension Propagation has found an expression for each of their entries: the column "demoted" says
which class it then has.
"""

_OTHER_DOMAINS = """\
## Operators of other domains

Imported as arithmetic of the operators above. Those of com.microsoft are what ONNX Runtime's
optimiser writes into models saved at level extended, and its tools for transformers and quantised
models; those of ai.onnx.ml work on numbers only. Weights of MatMulNBits are floats from import on.
"""

_RELAX = """\
## Relax operators

The rows that the compiler works with, one for every operator that TVM registers and that type
inference can meet. An attribute that ONNX has as an input (repeats, pads, axes) makes the Relax
operator ISDOS. "dims": the row gives the shape where Relax's own inference gives up. "entries": the
entries of small tensors are followed through it. "equal dims": it forces dims of its arguments to
be equal, which the analysis uses and the entry of the program checks.
"""


def page() -> str:
    """The text of docs/operators.md."""
    return "\n".join(
        [
            _INTRODUCTION,
            _table(
                ["class", "meaning", "ONNX operators", "Relax operators"],
                [
                    [
                        its.name,
                        its.value,
                        str(sum(row.dynamism is its for row in ONNX_ROWS.values())),
                        str(sum(row.dynamism is its for row in ROWS.values())),
                    ]
                    for its in Dynamism
                ],
            ),
            _ONNX,
            _table(
                ["operator", "class", "shape-giving inputs", "demoted", "mapping", "why"],
                [
                    [
                        name,
                        row.dynamism.name,
                        ", ".join(row.shape_inputs),
                        row.demoted.name if row.shape_inputs else "",
                        row.mapping.value,
                        row.why,
                    ]
                    for name, row in sorted(ONNX_ROWS.items())
                ],
            ),
            _OTHER_DOMAINS,
            _table(["domain", "operators"], _by_domain()),
            _RELAX,
            _table(
                ["operator", "class", "mapping", "dims", "entries", "equal dims"],
                [
                    [
                        name.removeprefix("relax."),
                        row.dynamism.name,
                        row.mapping.value,
                        "yes" if row.dims else "",
                        "yes" if row.value else "",
                        "yes" if row.agree else "",
                    ]
                    for name, row in sorted(ROWS.items())
                ],
            ),
            "## Relax operators without a row\n",
            _table(
                ["operator", "why"],
                [
                    [f"{name}*" if name.endswith(".") else name, why]
                    for name, why in sorted(NO_ROW.items())
                ],
            ),
        ]
    )


def _by_domain() -> list[list[str]]:
    named: dict[str, list[str]] = {}
    for key in sorted(CONVERTERS):
        domain, _, name = key.rpartition(".")
        if domain:
            named.setdefault(domain, []).append(name)
    return [[domain, ", ".join(names)] for domain, names in named.items()]


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
        classes = Counter(row.dynamism.name for row in ONNX_ROWS.values())
        print(f"{PAGE}: {len(ONNX_ROWS)} ONNX operators {dict(classes)}, {len(ROWS)} Relax rows")
        return 0
    if PAGE.read_text(encoding="utf-8") == page():
        return 0
    print(f"{PAGE} is out of date: run python scripts/operator_table.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
