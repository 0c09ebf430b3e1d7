"""From scheduled kernels called by `call_tir` to what TVM's VM code generator takes.

TVM's own passes, except for `StaticPlanBlockMemory`: it has no `<=` on symbolic sizes, no arena,
and takes a storage of one arm of an ``If`` for the other. Our arena stands in its place.
"""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.target import Target

from tvm_sod2.memory.arena import PlanArena
from tvm_sod2.passes.codegen import CompileKernels


def lower_to_vm(target: Target) -> list[tvm.transform.Pass]:
    """Passes from `call_tir` form to an executable's parts, compiled for `target`."""
    return [
        # Explicit form: every kernel is called with the tensors it writes.
        relax.transform.RewriteDataflowReshape(),
        relax.transform.ToNonDataflow(),
        relax.transform.RemovePurityChecking(),
        relax.transform.CallTIRRewrite(),
        # Memory.
        PlanArena(),
        relax.transform.LowerAllocTensor(),
        relax.transform.KillAfterLastUse(),
        # The VM's builtins and its heap of dims.
        relax.transform.LowerRuntimeBuiltin(),
        relax.transform.ComputePrimValue(),
        relax.transform.VMShapeLower(),
        relax.transform.AttachGlobalSymbol(),
        # Machine code.
        CompileKernels(target),
    ]
