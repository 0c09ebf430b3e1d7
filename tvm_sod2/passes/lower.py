"""From scheduled kernels called by `call_tir` to what TVM's VM code generator takes.

TVM's own passes, except for `StaticPlanBlockMemory`: it has no ``<=`` on symbolic sizes, no arena,
and takes a storage that only one arm of an ``If`` allocates for the other arm too.
"""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.target import Target

from tvm_sod2.errors import BuildError
from tvm_sod2.memory.arena import PlanArena
from tvm_sod2.memory.part_moves import note_overwrites
from tvm_sod2.memory.parts import ViewParts
from tvm_sod2.memory.plan import Plan, plan
from tvm_sod2.memory.share_views import share_views
from tvm_sod2.passes.arguments import check_arguments
from tvm_sod2.passes.checks import CheckInputs
from tvm_sod2.passes.codegen import CompileKernels
from tvm_sod2.passes.empty_constants import empty_constants
from tvm_sod2.passes.free import FreeAfterLastUse
from tvm_sod2.passes.lift_scratch import LiftScratch
from tvm_sod2.passes.release_result import release_result
from tvm_sod2.passes.requirements import CheckRequirements
from tvm_sod2.passes.safe_casts import safe_casts
from tvm_sod2.passes.safe_divisions import safe_divisions
from tvm_sod2.passes.shape_tensors import LowerShapeToTensor


def explicit_form() -> list[tvm.transform.Pass]:
    """Passes from `call_tir` form to kernels called with the tensors they write."""
    return [
        # Everything that computes is a kernel, and all it writes to an operand.
        LowerShapeToTensor(),
        LiftScratch(),
        relax.transform.DeadCodeElimination(),
        relax.transform.ToNonDataflow(),
        relax.transform.RemovePurityChecking(),
        note_overwrites,
        relax.transform.CallTIRRewrite(),
    ]


def memory_plan(mod: tvm.IRModule, name: str = "main") -> Plan:
    """The memory plan of function `name` of a module in `call_tir` form, for people to read."""
    explicit = tvm.transform.Sequential([*explicit_form(), ViewParts()])(mod)
    return plan(explicit[name], explicit, name)


def lower_to_vm(target: Target) -> list[tvm.transform.Pass]:
    """Passes from `call_tir` form to an executable's parts, compiled for `target`."""
    return [
        *explicit_form(),
        # Memory, and before it the check of the inputs' dims.
        *([ViewParts(), PlanArena(), share_views] if target.kind.name == "llvm" else []),
        CheckInputs(),
        CheckRequirements(),
        release_result,
        empty_constants,
        relax.transform.LowerAllocTensor(),
        # The VM's builtins and its heap of dims.
        relax.transform.LowerRuntimeBuiltin(),
        RefusePython(),
        relax.transform.ComputePrimValue(),
        relax.transform.VMShapeLower(),
        safe_divisions,
        safe_casts,
        relax.transform.CanonicalizeBindings(),
        FreeAfterLastUse(),
        *([check_arguments] if target.kind.name == "llvm" else []),
        relax.transform.AttachGlobalSymbol(),
        # Machine code.
        CompileKernels(target),
    ]


@tvm.transform.module_pass(opt_level=0, name="RefusePython")
class RefusePython:
    """Refuse functions that exist only where Python runs TVM: a library must run without."""

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        for gvar, func in mod.functions.items():
            if isinstance(func, relax.Function):
                for name in sorted(_extern_functions(func)):
                    if name.startswith("relax.run."):
                        operator = name.removeprefix("relax.run.")
                        raise BuildError(
                            f"{gvar.name_hint}: operator {operator} would call the Python function "
                            f"{name} at run time; it needs a kernel of its own"
                        )
        return mod


def _extern_functions(func: relax.Function) -> set[str]:
    found: set[str] = set()

    def visit(expr: relax.Expr) -> None:
        if isinstance(expr, relax.ExternFunc):
            found.add(str(expr.global_symbol))

    relax.analysis.post_order_visit(func, visit)
    return found
