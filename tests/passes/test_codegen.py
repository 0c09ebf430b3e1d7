"""Kernels compiled into modules of their own, and what is left to TVM."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax, tirx
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.errors import BuildError
from tvm_sod2.passes.codegen import CompileKernels
from tvm_sod2.passes.lower import lower_to_vm

HOST = tvm.target.Target({"kind": "llvm"})


@I.ir_module
class Kernels:
    @T.prim_func
    def double(x: T.Buffer((16,), "float32"), y: T.Buffer((16,), "float32")):
        for i in T.parallel(16):
            y[i] = x[i] * T.float32(2)

    @T.prim_func(s_tir=True)
    def triple(x: T.Buffer((16,), "float32"), y: T.Buffer((16,), "float32")):
        for i in range(16):
            with T.sblock("triple"):
                v = T.axis.spatial(16, i)
                y[v] = x[v] * T.float32(3)

    @T.prim_func
    def on_gpu(x: T.Buffer((16,), "float32")):
        T.func_attr({"target": T.target({"kind": "opencl"})})
        x[0] = T.float32(1)


def test_cpu_kernels_leave_the_module_and_others_stay() -> None:
    mod = CompileKernels(HOST, threads=2)(Kernels)
    assert [gvar.name_hint for gvar in mod.get_global_vars()] == ["on_gpu"]
    built = mod.get_attr("external_mods")
    assert len(built) == 2
    x = tvm.runtime.tensor(np.arange(16, dtype="float32"))
    for name, factor in (("double", 2), ("triple", 3)):
        (kernel,) = (m[name] for m in built if m.implements_function(name))
        y = tvm.runtime.tensor(np.zeros(16, "float32"))
        kernel(x, y)
        np.testing.assert_array_equal(y.numpy(), x.numpy() * factor)


def test_modules_attached_before_are_kept() -> None:
    first = CompileKernels(HOST)(Kernels)
    again = first.clone()
    again.update(tvm.IRModule({"more": Kernels["triple"].with_attr("global_symbol", "more")}))
    linked = CompileKernels(HOST)(again.with_attr("external_mods", first.get_attr("external_mods")))
    assert len(linked.get_attr("external_mods")) == 3


def test_a_system_library_is_left_to_tvm() -> None:
    mod = Kernels.with_attr("system_lib_prefix", "a_prefix_of_ours_")
    assert CompileKernels(HOST)(mod).same_as(mod)


def test_a_kernel_that_cannot_be_compiled_is_named() -> None:
    y = tirx.decl_buffer((16,), "int64", name="y", layout=None)
    zero, unbound = tirx.IntImm("int64", 0), tirx.Var("unbound", "int64")
    fine = tirx.PrimFunc([y], tirx.BufferStore(y, zero, [zero]))
    broken = tirx.PrimFunc([y], tirx.BufferStore(y, unbound, [zero]))
    mod = tvm.IRModule(
        {
            name: func.with_attr("global_symbol", name)
            for name, func in (("fine", fine), ("broken", broken))
        }
    )
    # Errors that cross TVM's C++ keep their class only where it is registered with tvm_ffi.
    with pytest.raises((BuildError, RuntimeError), match="kernel broken: code generation failed"):
        CompileKernels(HOST)(mod)


def test_private_parallel_kernels_of_several_modules_link_into_one_library(tmp_path) -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 16), "float32")):
            with R.dataflow():
                a = R.tanh(x)
                b = R.nn.relu(a)
                c = R.exp(b)
                d = R.sin(c)
                R.output(d)
            return d

    parallel = relax.transform.LegalizeOps()(Net)
    for gvar, func in parallel.functions.items():
        if isinstance(func, tvm.tirx.PrimFunc):
            sch = tvm.s_tir.Schedule(func)
            sch.parallel(sch.get_loops("compute")[0])
            parallel.update_func(gvar, sch.mod["main"].without_attr("global_symbol"))
    pipeline = tvm.transform.Sequential(lower_to_vm(HOST))
    ex = tvm.relax.build(parallel, HOST, relax_pipeline=pipeline)
    path = tmp_path / "net.so"
    ex.export_library(str(path))
    vm = relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu())
    x = np.random.default_rng(0).random((300, 16), "float32")
    want = np.sin(np.exp(np.maximum(np.tanh(x), 0)))
    got = vm["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
