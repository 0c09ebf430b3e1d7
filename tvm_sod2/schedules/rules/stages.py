"""Stage by stage: every map and reduction its own forked loops, values between them in buffers."""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.tirx import AllocBuffer, PrimFunc, Stmt, Var

from tvm_sod2.schedules.requantise import requantise_in_bits
from tvm_sod2.schedules.rules.access import Memory
from tvm_sod2.schedules.rules.conditions import plain_conditions
from tvm_sod2.schedules.rules.exponentials import shorten_exponentials
from tvm_sod2.schedules.rules.inline import fold_epilogues, inline_maps, keep_terms
from tvm_sod2.schedules.rules.loops import product, sequence, static
from tvm_sod2.schedules.rules.maps import emit_map
from tvm_sod2.schedules.rules.program import Program, Stage, loads
from tvm_sod2.schedules.rules.reading import read_program
from tvm_sod2.schedules.rules.reciprocals import multiply_by_reciprocals
from tvm_sod2.schedules.rules.reductions import emit_reduction
from tvm_sod2.schedules.rules.stretches import plain_stretches
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.vectorise_math import vectorise_math

__all__ = [
    "SCRATCH",
    "emit_stage",
    "finish",
    "home_in_outputs",
    "reduced_program",
    "schedule_stages",
]

SCRATCH = "sod2.scratch"
"""Function attribute: the kernel allocates buffers of symbolic size, for a plan to lift."""


def reduced_program(func: PrimFunc) -> Program | None:
    """The function's stages after inlining, or None where they cannot be read."""
    program = read_program(func)
    if program is None:
        return None
    program = inline_maps(plain_stretches(program))
    program = keep_terms(fold_epilogues(plain_conditions(program)))
    return shorten_exponentials(multiply_by_reciprocals(program))


def schedule_stages(func: PrimFunc, traits: Traits) -> PrimFunc | None:
    """Each stage by itself; the rule for elementwise groups, single reductions and mixtures."""
    program = reduced_program(func)
    if program is None:
        return None
    memory = Memory(traits)
    memory.declare_parameters(func)
    homes = home_in_outputs(program, 0, memory)
    allocated: list[Stmt] = []
    symbolic = False
    for buffer in program.temporaries:
        home = homes.get(hash(buffer))
        if home is not None:
            memory.alias(buffer, home)
            continue
        size = product(list(buffer.ty.shape))
        symbolic = symbolic or static(size) is None
        flat = tirx.decl_buffer((size,), buffer.ty.dtype, name=buffer.name)
        allocated.append(AllocBuffer(flat))
        shape = list(buffer.ty.shape)
        memory.place(buffer, flat, shape, list(range(len(shape))))
    body = [emit_stage(memory, stage, True) for stage in program.stages]
    return finish(func, [*memory.declared, *allocated, *body], symbolic)


def emit_stage(memory: Memory, stage: Stage, parallel: bool) -> Stmt:
    """Loops of one stage."""
    if stage.combiner is None:
        return emit_map(memory, stage, parallel)
    return emit_reduction(memory, stage, parallel)


def finish(func: PrimFunc, body: list[Stmt], scratch: bool) -> PrimFunc:
    """The function with a new body, its mathematics vectorised, and its scratch declared."""
    result = vectorise_math(requantise_in_bits(func.with_body(sequence(body))))
    return result.with_attr(SCRATCH, True) if scratch else result


def home_in_outputs(program: Program, dropped: int, memory: Memory) -> dict[int, Var]:
    """Temporaries (by hash) that can live in an output which is written after their last use.

    The output must have the temporary's shape (without `dropped` leading axes) and type, and its
    stage must read the temporary only at the element it writes: softmax's exponentials, for one.
    """
    homes: dict[int, Var] = {}
    taken: set[int] = set()
    polynomials = memory.polynomials
    for buffer in program.temporaries:
        readers = [s for s in program.stages if s.reads(buffer)]
        if not readers:
            continue
        last = readers[-1]
        home = last.buffer
        if (
            program.is_temporary(home)
            or hash(home) in taken
            or last.combiner is not None
            or not last.plain
            or str(home.ty.dtype) != str(buffer.ty.dtype)
            or len(home.ty.shape) != len(buffer.ty.shape)
            or any(s.reads(home) for s in program.stages)
        ):
            continue
        shapes = zip(list(home.ty.shape)[dropped:], list(buffer.ty.shape)[dropped:], strict=True)
        if any(polynomials.of(a) != polynomials.of(b) for a, b in shapes):
            continue
        found = [load for load in loads(last.value) if load.source.same_as(buffer)]
        if all(tvm_ffi.structural_equal(list(load.indices), list(last.indices)) for load in found):
            homes[hash(buffer)] = home
            taken.add(hash(home))
    return homes
