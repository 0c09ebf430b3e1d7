"""Fused groups built by hand, compiled many at a time, and float64 references for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import erf
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx

from tvm_sod2.passes.lower import lower_to_vm
from tvm_sod2.schedules.legalize import LEGALIZE
from tvm_sod2.schedules.schedule import CHOICE, ScheduleKernels
from tvm_sod2.schedules.traits import Traits, host_target
from tvm_sod2.schedules.winograd_choice import with_winograd_limit


@dataclass(frozen=True)
class Case:
    """One fused group: a Relax expression over run-time inputs, then constants."""

    compute: Callable[..., Any]
    inputs: Sequence[relax.TensorType]
    constants: Sequence[np.ndarray] = ()


def tensor(*dims: Any) -> relax.TensorType:
    """A float32 tensor type; strings are symbolic dims, one per name and type list."""
    return relax.TensorType(dims, "float32")


def dims(names: str) -> list[tirx.Var]:
    """Fresh symbolic dims."""
    return [tirx.Var(name, "int64") for name in names.split()]


def fused(cases: Mapping[str, Case]) -> tvm.IRModule:
    """A function for each case that calls its group, as the module is after FuseTIR."""
    bb = relax.BlockBuilder()
    for name, case in cases.items():
        types = [
            *case.inputs,
            *(relax.TensorType(c.shape, str(c.dtype)) for c in case.constants),
        ]
        params = [relax.Var(f"p{i}", t) for i, t in enumerate(types)]
        # The attribute keeps the builder from merging equal groups: that is ScheduleKernels' part.
        attrs = {"Primitive": True, "case": name}
        with bb.function(f"{name}_group", params, private=True, attrs=attrs):
            with bb.dataflow():
                out = bb.emit_output(case.compute(*params))
            bb.emit_func_output(out)
        group = bb.get().get_global_var(f"{name}_group")
        given = [relax.Var(f"x{i}", t) for i, t in enumerate(case.inputs)]
        with bb.function(name, given):
            with bb.dataflow():
                call = relax.Call(group, [*given, *(relax.const(c) for c in case.constants)])
                out = bb.emit_output(call)
            bb.emit_func_output(out)
    mod = relax.transform.LegalizeOps(LEGALIZE)(bb.get())
    return relax.transform.FuseTIR()(mod)


def scheduled(
    cases: Mapping[str, Case], traits: Traits | None = None, winograd: int = 4
) -> tvm.IRModule:
    """The module after ScheduleKernels, for this machine unless traits are given."""
    mod = with_winograd_limit(fused(cases), winograd)
    return ScheduleKernels(traits or Traits.from_target(host_target()))(mod)


def choices(mod: tvm.IRModule) -> dict[str, str]:
    """Which kernel each PrimFunc got."""
    return {
        var.name_hint: str(func.attrs[CHOICE])
        for var, func in mod.functions_items()
        if isinstance(func, tirx.PrimFunc)
    }


class Compiled:
    """Callable with a case's name and NumPy inputs."""

    def __init__(
        self, cases: Mapping[str, Case], traits: Traits | None = None, winograd: int = 4
    ) -> None:
        target = host_target()
        self.mod = scheduled(cases, traits, winograd)
        self.choices = choices(self.mod)
        lowered = tvm.transform.Sequential(lower_to_vm(target))(self.mod)
        executable = tvm.relax.build(lowered, target, relax_pipeline=None)
        self.vm = relax.VirtualMachine(executable, tvm.cpu())

    def __call__(self, name: str, *inputs: np.ndarray) -> np.ndarray:
        return self.vm[name](*(tvm.runtime.tensor(x) for x in inputs)).numpy()


def random(*shape: int) -> np.ndarray:
    """Normal float32 numbers, the same for the same shape."""
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def close(result: np.ndarray, expected: np.ndarray) -> None:
    """Equal up to the rounding of a float32 sum."""
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    strides: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0, 0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """NHWC, OHWI convolution in float64, tap by tap."""
    (sh, sw), (dh, dw), (top, left, bottom, right) = strides, dilation, padding
    out_channels, kh, kw, depth = w.shape
    x = np.pad(x.astype(np.float64), ((0, 0), (top, bottom), (left, right), (0, 0)))
    oh = (x.shape[1] - (kh - 1) * dh - 1) // sh + 1
    ow = (x.shape[2] - (kw - 1) * dw - 1) // sw + 1
    out = np.zeros((x.shape[0], oh, ow, out_channels))
    size = out_channels // groups
    for g in range(groups):
        channels = slice(g * size, (g + 1) * size)
        for i in range(kh):
            for j in range(kw):
                rows = slice(i * dh, i * dh + (oh - 1) * sh + 1, sh)
                columns = slice(j * dw, j * dw + (ow - 1) * sw + 1, sw)
                taken = x[:, rows, columns, g * depth : (g + 1) * depth]
                out[..., channels] += taken @ w[channels, i, j].astype(np.float64).T
    return out


def conv2d_transpose(
    x: np.ndarray,
    w: np.ndarray,
    strides: Sequence[int],
    padding: Sequence[int] = (0, 0, 0, 0),
    output_padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """NHWC, IOHW transposed convolution in float64: each input pixel adds to what it reaches."""
    n, h, width, inputs = x.shape
    _, outputs, kh, kw = w.shape
    (sh, sw), (dh, dw), (top, left, bottom, right) = strides, dilation, padding
    full = [(h - 1) * sh + (kh - 1) * dh + 1, (width - 1) * sw + (kw - 1) * dw + 1]
    full = [size + extra for size, extra in zip(full, output_padding, strict=True)]
    out = np.zeros((n, *full, groups * outputs))
    each = inputs // groups
    for g, i, j in np.ndindex(groups, kh, kw):
        rows = slice(i * dh, i * dh + (h - 1) * sh + 1, sh)
        columns = slice(j * dw, j * dw + (width - 1) * sw + 1, sw)
        taken, channels = slice(g * each, (g + 1) * each), slice(g * outputs, (g + 1) * outputs)
        product = x[..., taken].astype(np.float64) @ w[taken, :, i, j].astype(np.float64)
        out[:, rows, columns, channels] += product
    return out[:, top : full[0] - bottom, left : full[1] - right]


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def gelu(x: np.ndarray) -> np.ndarray:
    """Exact GELU."""
    return x * 0.5 * (1 + np.vectorize(erf, otypes=[np.float64])(x / np.sqrt(2)))


def hardswish(x: np.ndarray) -> np.ndarray:
    return x * np.clip(x + 3, 0, 6) / 6


def hardswish_relax(x: Any) -> Any:
    """Hardswish as the importer spells it."""
    six = relax.const(6.0, "float32")
    shifted = relax.op.add(x, relax.const(3.0, "float32"))
    return relax.op.divide(relax.op.multiply(x, relax.op.clip(shifted, 0, 6)), six)
