"""Reads the assembly of kernels for x86-64 and AArch64: innermost loops, and what is in them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import tvm
from kernel_cases import Case, scheduled
from tvm import tirx
from tvm.target import Target

from tvm_sod2.passes.codegen import CompileKernels
from tvm_sod2.schedules.traits import Traits

_JUMP = re.compile(r"\s+(?:j\w+|b|b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#\d+,)\s+([.\w$]+)\s*$")


@dataclass(frozen=True)
class Machine:
    """A CPU's target, and how its whole vectors look in assembly.

    Attributes:
        product: a multiplication of whole vectors of float32, fused with an addition if it can.
        vector: any operand that is a whole vector.
        spill: a whole vector that goes to the stack or comes from it.
        accumulators: of a full register tile.
    """

    cpu: str
    triple: str
    product: str
    vector: str
    spill: str
    accumulators: int

    @property
    def target(self) -> Target:
        return Target({"kind": "llvm", "mcpu": self.cpu, "mtriple": self.triple})


def _x86(cpu: str, register: str, product: str, accumulators: int) -> Machine:
    spill = rf"v?mov[adu]+\w*\s.*\(%rsp.*%{register}mm|v?mov[adu]+\w*\s+%{register}mm.*\(%rsp"
    vector = rf"%{register}mm\d+"
    triple = "x86_64-linux-gnu"
    return Machine(cpu, triple, rf"\s{product}\s.*{vector}", vector, spill, accumulators)


MACHINES = {
    "avx512": _x86("skylake-avx512", "z", r"vfn?m(?:add|sub)\d+ps", 24),
    "avx2": _x86("haswell", "y", r"vfn?m(?:add|sub)\d+ps", 12),
    "sse": _x86("nehalem", "x", "mulps", 8),
    "neon": Machine(
        "cortex-a76",
        "aarch64-linux-gnu",
        r"\sfml[as]\s+v\d+\.4s",
        r"\bv\d+\.4s|\bq\d+",
        r"(?:ld|st)[rpu]+\s+q\d+.*\[sp",
        24,
    ),
}


def assembly(case: Case, machine: Machine) -> str:
    """The one kernel of a case, made for another machine."""
    with machine.target:
        mod = scheduled({"kernel": case}, Traits.from_target(machine.target))
    (func,) = (f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc))
    return of_function(func, machine)


def of_function(func: tirx.PrimFunc, machine: Machine) -> str:
    """A scheduled PrimFunc's."""
    kernel = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    (module,) = CompileKernels(machine.target)(kernel).get_attr("external_mods")
    return module.inspect_source("asm")


def inner_loops(text: str) -> list[str]:
    """The instructions of every loop that has no loop inside."""
    lines = text.split("\n")
    labels = {m[1]: i for i, line in enumerate(lines) if (m := re.match(r"([.\w$]+):", line))}
    loops = set()
    for i, line in enumerate(lines):
        jump = _JUMP.match(line)
        if jump and labels.get(jump[1], i) < i:
            loops.add((labels[jump[1]], i))
    inner = [a for a in loops if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    found = (lines[start : end + 1] for start, end in sorted(inner))
    return ["\n".join(line for line in loop if re.match(r"\s+[a-z]", line)) for loop in found]


def count(pattern: str, loop: str) -> int:
    return len(re.findall(pattern, loop))
