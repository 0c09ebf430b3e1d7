"""Schedule rules for kernels without an anchor: each gives a scheduled function, or None.

The first rule that applies wins. They read the function as stages (reading.py), inline what is
cheap (inline.py), and write loops afresh (maps.py, reductions.py): with symbolic sizes that is
quicker to build and better code than rewriting TVM's blocks step by step.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm.tirx import PrimFunc

from tvm_sod2.schedules.rules.fallback import keep_loops
from tvm_sod2.schedules.rules.rows import schedule_rows
from tvm_sod2.schedules.rules.stages import SCRATCH, schedule_stages
from tvm_sod2.schedules.traits import Traits

__all__ = ["RULES", "SCRATCH"]

RULES: list[Callable[[PrimFunc, Traits], PrimFunc | None]] = [
    schedule_rows,
    schedule_stages,
    keep_loops,
]
