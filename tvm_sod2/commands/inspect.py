"""``tvm-sod2 inspect``: what is known of a model before it runs."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvm_sod2.commands.progress import shown

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
    """Print RDP's facts, the phases, and the arena's bytes as an expression of the dims."""
    from tvm_sod2 import analyze, from_onnx
    from tvm_sod2.metadata import ARENA_ATTR, SIGNATURE_ATTR
    from tvm_sod2.signature import Signature

    mod = from_onnx(model)
    facts = analyze(mod)
    reports, final = walk(mod, f"inspecting {model.name}")
    attrs = final["main"].attrs
    signature = Signature.from_json(str(attrs[SIGNATURE_ATTR]))
    arena = str(attrs[ARENA_ATTR])
    if as_json:
        found = {
            "model": str(model),
            "inputs": [asdict(value) for value in signature.inputs],
            "outputs": [asdict(value) for value in signature.outputs],
            "rdp": facts.to_json(),
            "phases": [asdict(report) for report in reports],
            "arena_bytes": arena,
        }
        print(json.dumps(found, indent=2))
        return
    for value in signature.inputs:
        print(f"input   {value}")
    for value in signature.outputs:
        print(f"output  {value}")
    print(f"\n{facts}")
    print("\nphases            seconds  functions  kernels  calls")
    for report in reports:
        print(
            f"{report.name:16} {report.seconds:8.2f} {report.relax_functions:10} "
            f"{report.kernels:8} {report.calls:6}"
        )
    print(f"\narena   {arena} bytes")


def walk(mod: tvm.IRModule, title: str) -> tuple[list[PhaseReport], tvm.IRModule]:
    """Run the pipeline up to machine code, for this machine; what each phase left, and the end."""
    import tvm

    from tvm_sod2.pipeline import phases
    from tvm_sod2.schedules.traits import host_target

    target = host_target()
    steps = phases(target)
    reports = []
    with shown(title) as progress, target:
        for index, phase in enumerate(steps):
            progress(phase.name, index, len(steps))
            start = time.perf_counter()
            passes = [p for p in phase.passes if p.info.name != MACHINE_CODE]
            mod = tvm.transform.Sequential(passes)(mod)
            reports.append(report(phase.name, time.perf_counter() - start, mod))
    return reports, mod


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
