"""Chooses how a reduction is vectorised: along its output, along what it reduces, or not."""

from __future__ import annotations

from tvm.tirx import Stmt, Var

from tvm_sod2.passes.strided_loads import STEPS
from tvm_sod2.schedules.rules.access import Memory, stride
from tvm_sod2.schedules.rules.columns import emit_columns
from tvm_sod2.schedules.rules.lane_rows import emit_rows, scalar_row, vector_row
from tvm_sod2.schedules.rules.loops import static
from tvm_sod2.schedules.rules.polynomial import occurs
from tvm_sod2.schedules.rules.program import Stage
from tvm_sod2.schedules.rules.reduction import Reduction, dependent_windows

__all__ = ["emit_reduction", "runs_along_output"]

_FEW = 4  # extents below which vectors do not pay


def emit_reduction(memory: Memory, stage: Stage, parallel: bool) -> Stmt:
    """Loops that compute a reduction stage; a reduction over nothing gives the identity."""
    reduction = Reduction(memory, stage)
    if _along_output(reduction):
        return emit_columns(reduction, parallel)
    inside = _between_borders(reduction, memory, stage)
    if inside is not None:
        return emit_columns(inside, parallel, reduction)
    row = vector_row if _along_reduced(reduction) else scalar_row
    return emit_rows(reduction, parallel, row)


def runs_along_output(memory: Memory, stage: Stage) -> bool:
    """Whether the vectors of a reduction run along its last output axis."""
    return _along_output(Reduction(memory, stage))


def _between_borders(reduction: Reduction, memory: Memory, stage: Stage) -> Reduction | None:
    """The reduction where no window is cut off along the last axis, if it has vectors there."""
    axes = reduction.nest.axes
    if not axes or reduction.guard is not None:
        return None
    inside = Reduction(memory, stage, whole=axes[-1].var)
    return inside if inside.span is not None and _along_output(inside) else None


def _along_output(reduction: Reduction) -> bool:
    nest = reduction.nest
    if not nest.axes or stride(reduction.memory, nest.offset, nest.axes[-1].var) != 1:
        return False
    inner = nest.axes[-1]
    size = static(inner.extent)
    if size is not None and size < _FEW and _along_reduced(reduction):
        return False
    # All lanes of a vector share their windows.
    windows = [r.extent for r in nest.reduced]
    if reduction.guard is not None:
        windows.append(reduction.guard)
    if any(occurs(expr, [inner.var]) for expr in windows):
        return False
    return _regular(reduction, inner.var)


def _along_reduced(reduction: Reduction) -> bool:
    nest = reduction.nest
    if not nest.reduced or reduction.guard is not None or dependent_windows(nest):
        return False
    size = static(nest.reduced[-1].extent)
    return (size is None or size >= _FEW) and _regular(reduction, nest.reduced[-1].var)


def _regular(reduction: Reduction, var: Var) -> bool:
    """Whether every access stays, or steps to an element near by, as `var` does."""
    strides = reduction.strides(var)
    steps = (1, *STEPS)
    regular = all(s == 0 or s in steps for s in strides) and any(s in steps for s in strides)
    return regular and reduction.lanes(var) > 1
