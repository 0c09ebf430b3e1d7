"""The phases from a Relax module to an executable, top to bottom.

`build` is what users call; the same phases are known to TVM as the Relax pipeline "sod2".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tvm
import tvm_ffi
from tvm import relax
from tvm.target import Target

from tvm_sod2 import errors
from tvm_sod2.errors import BuildError
from tvm_sod2.metadata import emit_metadata, record_kernels, record_signature
from tvm_sod2.passes.bounds import with_bounds
from tvm_sod2.passes.broadcast import decide_broadcasts
from tvm_sod2.passes.cancel_permutes import cancel_permutes
from tvm_sod2.passes.einsum_products import einsum_products
from tvm_sod2.passes.flatten_conv3d import flatten_conv3d
from tvm_sod2.passes.fold_affine import fold_affine
from tvm_sod2.passes.fold_constants import fold_constants
from tvm_sod2.passes.fold_norms import fold_norms
from tvm_sod2.passes.fold_shapes import fold_shapes
from tvm_sod2.passes.fold_stretches import fold_stretches
from tvm_sod2.passes.fuse import fuse
from tvm_sod2.passes.fuse_attention import fuse_attention
from tvm_sod2.passes.integer_operands import integer_operands
from tvm_sod2.passes.keep_channels_first import keep_channels_first
from tvm_sod2.passes.layout import layout_passes
from tvm_sod2.passes.legalize import legalize_passes
from tvm_sod2.passes.lower import lower_to_vm
from tvm_sod2.passes.merge_concats import merge_concats
from tvm_sod2.passes.name_unknown import name_unknown_dims
from tvm_sod2.passes.one_hot_products import one_hot_products
from tvm_sod2.passes.order import OrderForMemory
from tvm_sod2.passes.outline import OutlineControlFlow
from tvm_sod2.passes.quantised_products import quantised_products
from tvm_sod2.passes.repeat_pixels import repeat_pixels
from tvm_sod2.passes.reshape_counts import check_reshapes
from tvm_sod2.passes.select_dims import select_dims
from tvm_sod2.passes.separate_pools import separate_pools
from tvm_sod2.passes.sequential import lower_sequential
from tvm_sod2.passes.shape_values import lower_shape_values
from tvm_sod2.passes.simplify import simplify
from tvm_sod2.passes.sink_merges import sink_merges
from tvm_sod2.passes.size_checks import check_sizes
from tvm_sod2.passes.split_spectra import split_spectra
from tvm_sod2.passes.to_dataflow import to_dataflow
from tvm_sod2.passes.whole_offsets import whole_offsets
from tvm_sod2.passes.widen_conv1d import widen_conv1d
from tvm_sod2.schedules.gpu import ScheduleGpuKernels, check_gpu
from tvm_sod2.schedules.schedule import ScheduleKernels
from tvm_sod2.schedules.traits import Traits, host_target
from tvm_sod2.schedules.winograd_choice import with_winograd_limit

# An error raised inside a pass crosses C++, which gives it back as the class known by its name.
for _name, _error in vars(errors).items():
    if isinstance(_error, type) and issubclass(_error, errors.Sod2Error):
        tvm_ffi.register_error(_name, _error)

Progress = Callable[[str, int, int], None]
"""Called before each phase with its name, its number from 0, and how many there are."""

Bounds = Mapping[str, tuple[int, int]]
"""What is known about a dim: symbol name -> (lowest, highest), both inclusive."""


class Phase(NamedTuple):
    """A step of the way of the data, named as in the design."""

    name: str
    passes: list[tvm.transform.Pass]


def phases(target: Target) -> list[Phase]:
    """The way of the data for one target."""
    on_cpu = target.kind.name == "llvm"
    return [
        Phase(
            "frontend",
            [
                record_signature,
                select_dims,
                to_dataflow,
                name_unknown_dims,
            ],
        ),
        Phase("rdp", [fold_shapes, record_signature]),
        Phase(
            "rewrite",
            [
                lower_shape_values,
                relax.transform.DecomposeOpsForInference(),
                fold_stretches,
                decide_broadcasts,
                check_reshapes,
                check_sizes,
                einsum_products,
                quantised_products,
                fold_constants,
                simplify,
                fold_affine,
                simplify,
                one_hot_products,
                sink_merges,
                fold_norms,
                *([lower_sequential] if on_cpu else []),
            ],
        ),
        Phase("outline", [OutlineControlFlow()]),
        *(_cpu_kernels(target) if on_cpu else _gpu_kernels(target)),
        Phase("order", [OrderForMemory()]),
        Phase("memory and lower", [*lower_to_vm(target), emit_metadata]),
    ]


def _cpu_kernels(target: Target) -> list[Phase]:
    traits = Traits.from_target(target)
    return [
        Phase(
            "layout",
            [
                flatten_conv3d,
                widen_conv1d,
                *layout_passes(),
                cancel_permutes,
                keep_channels_first,
                repeat_pixels,
                merge_concats,
                separate_pools,
                split_spectra,
            ],
        ),
        Phase(
            "fuse",
            [
                fuse_attention(traits),
                integer_operands,
                whole_offsets,
                fuse,
                *legalize_passes(),
            ],
        ),
        Phase("schedules", [ScheduleKernels(traits), record_kernels]),
    ]


def _gpu_kernels(target: Target) -> list[Phase]:
    return [
        Phase("layout", [cancel_permutes, merge_concats]),
        Phase("fuse", [fuse, *legalize_passes()]),
        Phase("schedules", [ScheduleGpuKernels(target), record_kernels]),
    ]


def build(
    mod: tvm.IRModule,
    target: Target | Mapping[str, Any] | None = None,
    *,
    params: Mapping[str, np.ndarray | tvm.runtime.Tensor] | None = None,
    bounds: Bounds | None = None,
    winograd: int | None = None,
    dump_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> tvm.runtime.Executable:
    """Compile any Relax module once, for every shape it admits.

    target: TVM's target or its fields; None is this machine's CPU with its features.
    params: values by parameter name, bound as constants.
    bounds: what is known about dims, e.g. ``{"seq": (1, 512)}``.
    winograd: the largest tile of outputs that 3x3 convolutions may transform, along an axis: 4, the
        default; 2, as exact as direct sums; or 0 for none (docs/kernels.md has the errors).
    dump_dir: a folder that receives the module as text after each phase.
    progress: told each phase before it runs.

    Returns what `tvm.compile` returns; run it with `tvm.relax.VirtualMachine`. Raises BuildError
    (ShapeError where dims contradict each other), naming the operator and what would help.
    """
    if params:
        mod = _bind(mod, params)
    if bounds:
        mod = with_bounds(mod, bounds)
    if winograd is not None:
        mod = with_winograd_limit(mod, winograd)
    chosen = resolve(target)
    pipeline = _pipeline(chosen, dump_dir, progress)
    return tvm.compile(mod, chosen, relax_pipeline=pipeline)


def sod2_pipeline() -> tvm.transform.Pass:
    """The pipeline for `tvm.compile(mod, target, relax_pipeline="sod2")`."""

    @tvm.transform.module_pass(opt_level=0, name="sod2")
    def run(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        target = Target.current(allow_none=True)
        return _pipeline(resolve(target), None, None)(mod)

    return run


def _pipeline(
    target: Target, dump_dir: str | Path | None, progress: Progress | None
) -> tvm.transform.Pass:
    @tvm.transform.module_pass(opt_level=0, name="sod2")
    def run(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        steps = phases(target)
        with target:
            for number, phase in enumerate(steps):
                if progress is not None:
                    progress(phase.name, number, len(steps))
                mod = tvm.transform.Sequential(phase.passes)(mod)
                if dump_dir is not None:
                    _dump(mod, Path(dump_dir), number, phase.name)
        return mod

    return run


def resolve(target: Target | Mapping[str, Any] | None) -> Target:
    """The target as `build` takes it, a GPU's with this machine as its host.

    Raises BuildError for a kind that no code can be written for.
    """
    if target is None:
        return host_target()
    chosen = target if isinstance(target, Target) else Target(dict(target))
    if chosen.kind.name == "llvm":
        return chosen
    check_gpu(chosen)
    return chosen if chosen.host is not None else chosen.with_host(host_target())


def _bind(mod: tvm.IRModule, params: Mapping[str, Any]) -> tvm.IRModule:
    """Bind parameters by name in every function that has them; "fc.weight" also means fc_weight."""
    values = {
        _plain(name): tvm.runtime.tensor(value) if isinstance(value, np.ndarray) else value
        for name, value in params.items()
    }
    found: set[str] = set()
    for gvar, func in mod.functions_items():
        if not isinstance(func, relax.Function):
            continue
        here = {p.name: values[_plain(p.name)] for p in func.params if _plain(p.name) in values}
        found |= {_plain(name) for name in here}
        if here:
            mod = relax.transform.BindParams(gvar.name_hint, here)(mod)
    missing = sorted(values.keys() - found)
    if missing:
        raise BuildError(f"no function of the module has a parameter called {', '.join(missing)}")
    return mod


def _plain(name: str) -> str:
    return name.replace(".", "_")


def _dump(mod: tvm.IRModule, folder: Path, number: int, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number}-{name.replace(' ', '-')}.py").write_text(mod.script())
