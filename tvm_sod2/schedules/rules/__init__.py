"""Schedule rules for kernels without an anchor: each gives a scheduled function, or None.

The first rule that applies wins. They read the function as stages (program.py), inline what is cheap
(inline.py), and write loops afresh (maps.py, reductions.py): with symbolic sizes that is both quicker
to build and better code than rewriting TVM's blocks step by step.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm.tirx import PrimFunc

from ..traits import Traits
from .fallback import keep_loops
from .rows import schedule_rows
from .stages import SCRATCH, schedule_stages

__all__ = ["RULES", "SCRATCH"]

RULES: list[Callable[[PrimFunc, Traits], PrimFunc | None]] = [
    schedule_rows,
    schedule_stages,
    keep_loops,
]
