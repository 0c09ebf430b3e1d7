"""Source code for GPUs from modules with symbolic dims: one build, no shape in it, no device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tvm
from onnx import parser
from tvm import tirx
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

import tvm_sod2
from tvm_sod2.errors import BuildError
from tvm_sod2.pipeline import phases, resolve
from tvm_sod2.schedules.schedule import CHOICE

# How each language begins a kernel, and names a 64-bit integer parameter.
LANGUAGES = {
    "opencl": (r"__kernel void (\w+)\(([^)]*)\)", "long"),
    "cuda": (r"__global__ void (?:__launch_bounds__\(\d+\) )?(\w+)\(([^)]*)\)", "int64_t"),
}

rng = np.random.default_rng(0)
WEIGHT = rng.normal(size=(48, 40)).astype("float32")
KERNEL = rng.normal(size=(8, 3, 3, 3)).astype("float32")


@I.ir_module
class Language:
    @R.function
    def main(
        x: R.Tensor(("batch", "length", 48), "float32"), m: R.Tensor(("batch", "length"), "float32")
    ):
        with R.dataflow():
            a = R.matmul(x, R.const(WEIGHT))
            b = R.nn.gelu(a)
            c = R.nn.softmax(b, axis=1)
            d = R.sum(R.multiply(m, m), axis=[1])
            e = R.permute_dims(c, [0, 2, 1])
            R.output(d, e)
        return d, e


@I.ir_module
class Vision:
    @R.function
    def main(x: R.Tensor(("batch", 3, "height", "width"), "float32")):
        with R.dataflow():
            a = R.nn.conv2d(x, R.const(KERNEL), strides=2, padding=1)
            b = R.nn.relu(a)
            c = R.nn.max_pool2d(b, (2, 2), (2, 2))
            d = R.mean(c, axis=[2, 3])
            R.output(d)
        return d


NETWORKS = {"language": Language, "vision": Vision}


def target(kind: str) -> tvm.target.Target:
    return resolve({"kind": kind, **({"arch": "sm_80"} if kind == "cuda" else {})})


def scheduled(mod: tvm.IRModule, kind: str) -> dict[str, tirx.PrimFunc]:
    """The kernels by name, as they are after scheduling."""
    with target(kind):
        for phase in phases(target(kind)):
            mod = tvm.transform.Sequential(phase.passes)(mod)
            if phase.name == "schedules":
                break
    return {v.name_hint: f for v, f in mod.functions_items() if isinstance(f, tirx.PrimFunc)}


def sources(module: Any, kind: str) -> Iterator[str]:
    for imported in module.imports:
        if imported.kind == kind:
            yield imported.inspect_source()
        yield from sources(imported, kind)


@pytest.mark.parametrize("kind", LANGUAGES)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_kernel_has_code_for_all_shapes(network: str, kind: str) -> None:
    mod = NETWORKS[network]
    source = "\n".join(sources(tvm_sod2.build(mod, target(kind)).mod, kind))
    pattern, integer = LANGUAGES[kind]
    found = dict(re.findall(pattern, source))
    for name, func in scheduled(mod, kind).items():
        parts = {device: params for device, params in found.items() if device.startswith(name)}
        assert parts, f"{name} has no code"
        # Dims come as arguments: of the kernel's symbols, each in some of its parts.
        symbols = {str(d.name) for p in func.params for d in _dims(p) if isinstance(d, tirx.Var)}
        assert symbols
        given = {s for params in parts.values() for s in re.findall(rf"{integer} (\w+)", params)}
        assert given, f"{name} is code for one shape"


def _dims(param: tirx.Var) -> list[Any]:
    return list(getattr(param.ty, "shape", None) or [])


def test_rules_by_kind_of_group() -> None:
    kernels = scheduled(Language, "opencl")
    rules = {name: str(func.attrs[CHOICE]) for name, func in kernels.items()}
    assert rules["fused_matmul_gelu"] == "dlight Matmul"
    assert all(rule.startswith("dlight ") for rule in rules.values())


def test_shape_functions_stay_on_the_host() -> None:
    """What computes dims from dims is no kernel."""

    @I.ir_module
    class Reshaped:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32")):
            n, m = T.int64(), T.int64()
            with R.dataflow():
                a = R.exp(x)
                b = R.reshape(a, R.shape([n * m]))
                R.output(b)
            return b

    executable = tvm_sod2.build(Reshaped, target("opencl"))
    source = "\n".join(sources(executable.mod, "opencl"))
    assert "exp" in source
    assert "shape_func" not in source


@pytest.mark.skipif(
    tvm.get_global_func("target.build.vulkan", allow_missing=True) is not None,
    reason="this TVM writes SPIR-V",
)
def test_kinds_without_a_code_generator_are_named() -> None:
    with pytest.raises(BuildError, match="no code generator for target kind 'vulkan'"):
        tvm_sod2.build(Language, {"kind": "vulkan"})


def test_control_flow() -> None:
    """Each arm has its kernels; which of them runs, the host decides."""

    @I.ir_module
    class Branches:
        @R.function
        def main(x: R.Tensor(("n", 4), "float32"), flag: R.Tensor((), "bool")):
            if flag:
                y = R.exp(x)
                out = y
            else:
                z = R.sigmoid(x)
                out = z
            return out

    source = "\n".join(sources(tvm_sod2.build(Branches, target("cuda")).mod, "cuda"))
    names = {name for name, _ in re.findall(LANGUAGES["cuda"][0], source)}
    assert {"op_exp_kernel", "op_sigmoid_kernel"} <= names


def test_kernels_written_for_cpus_are_refused() -> None:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[s,b,4] x, float[1,12,4] w, float[1,12,3] r) => (float[s,1,b,3] y) {
            y = LSTM<hidden_size=3>(x, w, r)
        }"""
    )
    with pytest.raises(BuildError, match="lstm_3 is written for CPUs"):
        tvm_sod2.build(tvm_sod2.from_onnx(model), target("opencl"))
