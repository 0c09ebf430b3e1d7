"""A PrimFunc as a list of stages: what FuseTIR's loops and blocks say, without loops and blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import tvm_ffi
from tvm.ir import Expr, TensorLoad
from tvm.tirx import PrimFunc, Var

from tvm_sod2.schedules.rules.polynomial import put
from tvm_sod2.schedules.rules.reducers import Combiner

__all__ = ["Axis", "Program", "Stage", "loads", "map_loads", "substitute"]


@dataclass(frozen=True)
class Axis:
    """A loop: its variable (int64) runs over [0, extent)."""

    var: Var
    extent: Expr


@dataclass(frozen=True)
class Stage:
    """One loop nest. `value` is what is stored, or, of a reduction, the term that is combined in.

    `epilogue` (variable, expression) is what is stored of a reduction's result, the variable.
    `kept` (buffer, indices, expression) is stored at each step before the term is read.
    """

    name: str
    buffer: Var
    axes: tuple[Axis, ...]
    indices: tuple[Expr, ...]
    value: Expr
    reduced: tuple[Axis, ...] = ()
    combiner: Combiner | None = None
    start: Expr | None = None
    epilogue: tuple[Var, Expr] | None = None
    kept: tuple[Var, tuple[Expr, ...], Expr] | None = None

    @property
    def values(self) -> list[Expr]:
        """All expressions the stage evaluates, indices not counted."""
        more = [] if self.epilogue is None else [self.epilogue[1]]
        return [self.value, *more, *([] if self.kept is None else [self.kept[2]])]

    @property
    def written(self) -> list[Var]:
        """The buffers the stage writes."""
        return [self.buffer] if self.kept is None else [self.buffer, self.kept[0]]

    @property
    def plain(self) -> bool:
        """Whether the store's indices are the axes, in order (an axis of extent 1 may be 0)."""
        return len(self.axes) == len(self.indices) and all(
            isinstance(i, Var) and i.same_as(a.var)
            for i, a in zip(self.indices, self.axes, strict=True)
        )

    def reads(self, buffer: Var) -> int:
        """How many loads of `buffer` the value has."""
        return sum(1 for v in self.values for load in loads(v) if load.source.same_as(buffer))


@dataclass
class Program:
    """The stages of a PrimFunc in order; `temporaries` are the buffers it allocates."""

    func: PrimFunc
    stages: list[Stage]
    temporaries: list[Var] = field(default_factory=list)

    def is_temporary(self, buffer: Var) -> bool:
        """Whether the function allocates `buffer` (rather than takes it as a parameter)."""
        return any(buffer.same_as(t) for t in self.temporaries)


def loads(expr: Expr) -> list[TensorLoad]:
    """Every buffer load in an expression, those inside of indices too."""
    found: list[TensorLoad] = []
    tvm_ffi.structural_walk(expr, [(TensorLoad, lambda load: _append(found, load))])
    return found


def map_loads(expr: Expr, change: Mapping[int, Callable[[TensorLoad], Expr]]) -> Expr:
    """Replace loads: `change` maps a buffer's hash to a function of the (already changed) load."""

    def visit(load: TensorLoad) -> Expr:
        with_buffer = change.get(hash(load.source))
        return load if with_buffer is None else with_buffer(load)

    return tvm_ffi.structural_map(expr, [(TensorLoad, visit)])


def substitute(stage: Stage, mapping: dict[int, Expr], **changes: object) -> Stage:
    """A stage with variables replaced in its value and indices."""

    def on(expr: Expr) -> Expr:
        return put(expr, mapping)

    epilogue, kept = stage.epilogue, stage.kept
    return replace(
        stage,
        value=on(stage.value),
        indices=tuple(on(i) for i in stage.indices),
        epilogue=None if epilogue is None else (epilogue[0], on(epilogue[1])),
        kept=None if kept is None else (kept[0], tuple(on(i) for i in kept[1]), on(kept[2])),
        **changes,  # type: ignore[arg-type]
    )


def _append(found: list[TensorLoad], load: TensorLoad) -> None:
    found.append(load)
