"""Kernels for GPUs: TVM's dlight rules on every group, whatever its dims."""

from __future__ import annotations

import tvm
from tvm import tirx
from tvm.s_tir import Schedule, ScheduleError
from tvm.s_tir.dlight import ScheduleRule, gpu
from tvm.target import Target
from tvm_ffi import structural_walk

from tvm_sod2.errors import BuildError
from tvm_sod2.passes.codegen import block_passes
from tvm_sod2.schedules.schedule import CHOICE

# dlight's default rules, best first; each gives nothing where it does not apply.
RULES = (
    gpu.Matmul(),
    gpu.GEMV(),
    gpu.Reduction(),
    gpu.GeneralReduction(),
    gpu.Transpose(),
    gpu.Fallback(),
)


def check_gpu(target: Target) -> None:
    """Raise BuildError unless TVM can write code for the target's kind, a GPU's."""
    kind = target.kind.name
    if "gpu" not in target.keys:
        raise BuildError(f"target kind '{kind}' is not supported; use 'llvm' or a GPU's kind")
    if tvm.get_global_func(f"target.build.{kind}", allow_missing=True) is None:
        raise BuildError(f"this build of TVM has no code generator for target kind '{kind}'")


@tvm.transform.module_pass(opt_level=0, name="ScheduleGpuKernels")
class ScheduleGpuKernels:
    """Schedule each PrimFunc by the first of `RULES` that applies, which "sod2.kernel" names.

    Raises:
        BuildError: a kernel that was written as loops for a CPU, or that no rule applies to.
    """

    def __init__(self, target: Target) -> None:
        self.target = target

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        result = mod.clone()
        for gvar, func in mod.functions_items():
            if isinstance(func, tirx.PrimFunc) and "tirx.is_host_func" not in (func.attrs or {}):
                result.update_func(gvar, self._scheduled(gvar.name_hint, func))
        return result

    def _scheduled(self, name: str, func: tirx.PrimFunc) -> tirx.PrimFunc:
        if func.attrs is not None and "tirx.is_scheduled" in func.attrs:
            raise BuildError(f"kernel {name} is written for CPUs; there is none for GPUs yet")
        for rule in RULES:
            schedule = self._apply(rule, func)
            if schedule is None or not _has_constant_buffers(schedule.mod):
                continue
            notes = {CHOICE: f"dlight {type(rule).__name__}", "tirx.is_scheduled": True}
            return schedule.mod["main"].with_attr(notes)
        raise BuildError(f"no kernel for {name}: no dlight rule applies")

    def _apply(self, rule: ScheduleRule, func: tirx.PrimFunc) -> Schedule | None:
        try:
            found = rule.apply(func, self.target, False)
        except (ScheduleError, ValueError):
            # Some rules find only on the way, or by a mistake, that they do not fit: Transpose
            # compares sets of index expressions, which TVM refuses.
            return None
        return found if found is None or isinstance(found, Schedule) else next(iter(found), None)


def _has_constant_buffers(mod: tvm.IRModule) -> bool:
    """Whether what a thread or a block of threads keeps has a size known at build: GPUs need that.

    GeneralReduction keeps a whole row, which may be symbolic.
    """
    lowered = tvm.transform.Sequential(block_passes())(mod)
    sizes: list[tvm.ir.Expr] = []

    def note(allocation: tirx.AllocBuffer) -> None:
        if allocation.buffer.scope() != "global":
            sizes.extend(allocation.buffer.shape)

    structural_walk(lowered["main"].body, (tirx.AllocBuffer, note))
    return all(isinstance(size, tirx.IntImm) for size in sizes)
