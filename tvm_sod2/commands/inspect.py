"""``tvm-sod2 inspect``: what is known of a model before it runs."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvm_sod2.commands.progress import shown
from tvm_sod2.signature import Value

if TYPE_CHECKING:
    import tvm

MACHINE_CODE = "CompileKernels"
"""The pass that inspection leaves out: it takes most of a build and changes no fact."""


@dataclass(frozen=True)
class PhaseReport:
    """A phase of the pipeline: how long it took, and the module it left."""

    name: str
    seconds: float
    relax_functions: int
    kernels: int
    calls: int
    """Calls in the Relax functions, to operators and kernels alike."""


def inspect_model(model: Path, as_json: bool) -> None:
    """Print RDP's facts, the phases, and the arena's bytes as an expression of the dims.

    RDP's facts are there even of a model whose build fails; what failed is told beside them.
    """
    from tvm_sod2 import analyze, from_onnx

    mod = from_onnx(model)
    facts = analyze(mod)
    walked = walk(mod, f"inspecting {model.name}")
    if as_json:
        phases = [asdict(phase) for phase in walked.phases]
        found = {"model": str(model), **facts.to_json(), **walked.built(), "phases": phases}
        print(json.dumps(found | ({"error": walked.error} if walked.error else {}), indent=2))
        return
    print(facts)
    print("\nphases            seconds  functions  kernels  calls")
    for phase in walked.phases:
        print(
            f"{phase.name:16} {phase.seconds:8.2f} {phase.relax_functions:10} "
            f"{phase.kernels:8} {phase.calls:6}"
        )
    if walked.error:
        print(f"\nbuild fails: {walked.error}")
        return
    built = walked.built()
    for value in built["outputs"]:
        print(f"\noutput  {Value(**value)}", end="")
    print(f"\n\narena   {built['arena_bytes']} bytes")
    if built["kernels"]:
        print("\nkernels, and the rule of those that the dims choose a version of")
    for name, kernel in built["kernels"].items():
        print(f"{name}: {kernel}")


@dataclass
class Walk:
    """A build up to machine code: what each phase left, and the module or what stopped it."""

    phases: list[PhaseReport]
    mod: tvm.IRModule
    error: str = ""

    def built(self) -> dict[str, Any]:
        """What only a finished build knows: outputs, the arena's bytes at any dims, kernels."""
        from tvm_sod2.metadata import ARENA_ATTR, KERNELS_ATTR, SIGNATURE_ATTR
        from tvm_sod2.signature import Signature

        if self.error:
            return {"outputs": None, "arena_bytes": None, "kernels": None}
        attrs = self.mod["main"].attrs
        outputs = Signature.from_json(str(attrs[SIGNATURE_ATTR])).outputs
        notes = json.loads(str(attrs[KERNELS_ATTR]))
        return {
            "outputs": [asdict(value) for value in outputs],
            "arena_bytes": str(attrs[ARENA_ATTR]),
            "kernels": {name: note["kernel"] for name, note in notes.items()},
        }


def walk(mod: tvm.IRModule, title: str) -> Walk:
    """Run the pipeline up to machine code, for this machine."""
    import tvm

    from tvm_sod2.pipeline import phases
    from tvm_sod2.schedules.traits import host_target

    target = host_target()
    steps = phases(target)
    walked = Walk([], mod)
    with shown(title) as progress, target:
        for index, phase in enumerate(steps):
            progress(phase.name, index, len(steps))
            start = time.perf_counter()
            passes = [p for p in phase.passes if p.info.name != MACHINE_CODE]
            try:
                walked.mod = tvm.transform.Sequential(passes)(walked.mod)
            except Exception as error:  # whatever stops a build is worth telling
                walked.error = f"phase {phase.name}: {_last_line(error)}"
                break
            walked.phases.append(report(phase.name, time.perf_counter() - start, walked.mod))
    return walked


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)


def report(name: str, seconds: float, mod: tvm.IRModule) -> PhaseReport:
    """Count what a phase left."""
    import tvm
    from tvm import relax

    functions = [f for f in mod.functions.values() if isinstance(f, relax.Function)]
    calls = 0

    def count(node: Any) -> None:
        nonlocal calls
        calls += isinstance(node, relax.Call)

    for function in functions:
        relax.analysis.post_order_visit(function, count)
    return PhaseReport(
        name=name,
        seconds=round(seconds, 3),
        relax_functions=len(functions),
        kernels=sum(isinstance(f, tvm.tirx.PrimFunc) for f in mod.functions.values()),
        calls=calls,
    )
