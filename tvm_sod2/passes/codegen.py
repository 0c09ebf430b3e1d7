"""Machine code for the CPU kernels of a module, compiled in as many threads as there are cores.

TVM would compile all PrimFuncs as one LLVM module in one thread, through every pass that any
backend needs. Here they are dealt to several LLVM modules (TVM releases the GIL while it works)
and go through the passes that a CPU kernel needs. The modules travel in the attribute
``external_mods``, which TVM's own ``relax.build`` links, so ``tvm.compile`` with our pipeline gets
them as well. Kernels for anything but LLVM stay in the module for TVM to build.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import tvm
from tvm import s_tir, tirx
from tvm.target import Target
from tvm_ffi import VisitInterrupt, structural_walk

from tvm_sod2.errors import BuildError
from tvm_sod2.passes.drop_scopes import drop_scopes
from tvm_sod2.passes.exact_differences import exact_differences
from tvm_sod2.passes.fork import ForkAboveGrain
from tvm_sod2.passes.operands_as_given import operands_as_given
from tvm_sod2.passes.strided_loads import strided_loads
from tvm_sod2.passes.unchain_lets import unchain_lets
from tvm_sod2.passes.widen_bfloat16 import widen_bfloat16

# More modules than threads, so that a wrong cost estimate is evened out by the queue.
_MODULES_PER_THREAD = 3


def block_passes() -> list[tvm.transform.Pass]:
    """From schedulable blocks (``T.sblock``) to plain loops over buffers.

    Without the passes for thread bindings, shared memory, asynchronous copies and tensor cores.
    """
    return [
        s_tir.transform.CanonicalizeLoop(),
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerMatchBuffer(),
        s_tir.transform.StmtSimplify(),
        s_tir.transform.AnnotateIrregularLoop(),
        s_tir.transform.LowerOpaqueBlock(),
    ]


def loop_passes(target: Target) -> list[tvm.transform.Pass]:
    """From loops over buffers to functions with TVM's packed calling convention.

    Without `NarrowDataType`, which can prove nothing about int64 dims, and without what LLVM does
    anyway, `RemoveNoOp` and common subexpressions: a fifth of the time spent outside LLVM.
    """
    return [
        drop_scopes,
        tirx.transform.FlattenBuffer(),
        widen_bfloat16,
        tirx.transform.BF16ComputeLegalize(),
        s_tir.transform.LoopPartition(),
        tirx.transform.VectorizeLoop(True),
        tirx.transform.StorageRewrite(),
        tirx.transform.UnrollLoop(),
        tirx.transform.StmtSimplify(),
        s_tir.transform.RewriteUnsafeSelect(),
        strided_loads,
        unchain_lets,
        tirx.transform.FP8ComputeLegalize(),
        ForkAboveGrain(target),
        tirx.transform.MakePackedAPI(),
        operands_as_given,
        tirx.transform.FP8StorageLegalize(),
        tirx.transform.BF16StorageLegalize(),
        tirx.transform.LowerTVMBuiltin(),
        tirx.transform.LowerIntrin(),
    ]


@tvm.transform.module_pass(opt_level=0, name="CompileKernels")
class CompileKernels:
    """Replace the module's CPU kernels by compiled modules in the attribute ``external_mods``.

    Parameters
    ----------
    target : Target
        What kernels without a ``target`` attribute of their own are compiled for.
    threads : int | None
        Default: the cores this process may use.

    Errors: `BuildError`, naming the kernel that code generation refuses.
    """

    def __init__(self, target: Target, threads: int | None = None) -> None:
        self.target = target
        self.threads = threads or _usable_cores()

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        # A system library is linked statically by the caller, from one module of TVM's making.
        if mod.get_attr("system_lib_prefix") is not None:
            return mod
        kernels = {
            gvar: func
            for gvar, func in mod.functions.items()
            if isinstance(func, tirx.PrimFunc) and self._target_of(func).kind.name == "llvm"
        }
        if not kernels:
            return mod
        bins = _deal(kernels, self.threads * _MODULES_PER_THREAD)
        config = tvm.transform.PassContext.current()
        with ThreadPoolExecutor(self.threads) as pool:
            built = list(pool.map(lambda names: self._compile(kernels, names, config), bins))
        rest = {gvar: func for gvar, func in mod.functions.items() if gvar not in kernels}
        out = tvm.IRModule(rest, attrs=mod.attrs, global_infos=mod.global_infos)
        linked = list(mod.get_attr("external_mods") or [])
        return out.with_attr("external_mods", linked + built)

    def _target_of(self, func: tirx.PrimFunc) -> Target:
        attrs = func.attrs
        return attrs["target"] if attrs is not None and "target" in attrs else self.target

    def _compile(
        self,
        kernels: dict[tvm.ir.GlobalVar, tirx.PrimFunc],
        names: list[tvm.ir.GlobalVar],
        config: tvm.transform.PassContext,
    ) -> tvm.runtime.Module:
        # The pass context is thread-local: carry the caller's settings over.
        context = tvm.transform.PassContext(
            opt_level=config.opt_level, config=dict(config.config.items())
        )
        with context:
            try:
                return _build({name: kernels[name] for name in names}, self.target)
            except Exception as error:
                raise _blame(kernels, names, self.target) from error


def _build(kernels: dict[tvm.ir.GlobalVar, tirx.PrimFunc], target: Target) -> tvm.runtime.Module:
    """Compile `kernels` into one LLVM module."""
    scheduled: dict[tvm.ir.GlobalVar, tirx.PrimFunc] = {}
    emitted: dict[tvm.ir.GlobalVar, tirx.PrimFunc] = {}
    # First of all: every pass that follows simplifies.
    for gvar, func in exact_differences(tvm.IRModule(kernels)).functions.items():
        (scheduled if _has_blocks(func) else emitted)[gvar] = func
    mod = tvm.IRModule(emitted)
    if scheduled:
        mod.update(tvm.transform.Sequential(block_passes())(tvm.IRModule(scheduled)))
    bind = tirx.transform.BindTarget(target.with_host(target))
    mod = tvm.transform.Sequential([bind, *loop_passes(target)])(mod)
    if tvm.transform.PassContext.current().config.get("tirx.disable_assert", False):
        mod = tirx.transform.SkipAssert()(mod)
    return tvm.get_global_func("target.build.llvm")(mod, target)


def _blame(
    kernels: dict[tvm.ir.GlobalVar, tirx.PrimFunc],
    names: Iterable[tvm.ir.GlobalVar],
    target: Target,
) -> BuildError:
    """The error of the first kernel among `names` that does not compile alone."""
    for name in names:
        try:
            _build({name: kernels[name]}, target)
        except Exception as error:
            reason = str(error).strip().splitlines()[-1]
            return BuildError(f"kernel {name.name_hint}: code generation failed: {reason}")
    listed = ", ".join(name.name_hint for name in names)
    return BuildError(f"code generation failed for these kernels together: {listed}")


def _deal(
    kernels: dict[tvm.ir.GlobalVar, tirx.PrimFunc], count: int
) -> list[list[tvm.ir.GlobalVar]]:
    """Longest first, each to the lightest of `count` bins; the heaviest bin comes first."""
    cost = {gvar: _cost(func) for gvar, func in kernels.items()}
    bins: list[list[tvm.ir.GlobalVar]] = [[] for _ in range(min(count, len(kernels)))]
    weight = [0] * len(bins)
    for gvar in sorted(kernels, key=lambda g: (-cost[g], g.name_hint)):
        lightest = weight.index(min(weight))
        bins[lightest].append(gvar)
        weight[lightest] += cost[gvar]
    order = sorted(range(len(bins)), key=lambda i: -weight[i])
    return [bins[i] for i in order]


def _cost(func: tirx.PrimFunc) -> int:
    """Memory accesses in the text of `func`: what LLVM's time grows with."""
    count = 1

    def access(_: object) -> None:
        nonlocal count
        count += 1

    structural_walk(func.body, ((tvm.ir.TensorLoad, tirx.BufferStore), access))
    return count


def _has_blocks(func: tirx.PrimFunc) -> bool:
    stop = structural_walk(func.body, (s_tir.SBlock, lambda _: VisitInterrupt(True)), order="pre")
    return stop is not None


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
