"""Whole lowering: what an executable calls, and that it runs without this package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.errors import BuildError
from tvm_sod2.passes.lower import lower_to_vm, memory_plan
from tvm_sod2.passes.order import OrderForMemory
from tvm_sod2.passes.shape_tensors import LowerShapeToTensor

HOST = tvm.target.Target({"kind": "llvm"})


def build(mod: tvm.IRModule, **options: str) -> tvm.runtime.Executable:
    legalize = [
        LowerShapeToTensor(),
        relax.transform.LegalizeOps(),
        relax.transform.RewriteDataflowReshape(),
    ]
    pipeline = tvm.transform.Sequential([*legalize, *lower_to_vm(HOST)])
    return tvm.relax.build(mod, HOST, relax_pipeline=pipeline, **options)


def call(ex: tvm.runtime.Executable, *inputs: np.ndarray) -> list[np.ndarray]:
    vm = relax.VirtualMachine(ex, tvm.cpu())
    out = vm["main"](*(tvm.runtime.tensor(value) for value in inputs))
    return [out.numpy()] if hasattr(out, "numpy") else [part.numpy() for part in out]


@I.ir_module
class Mixed:
    @R.function
    def main(x: R.Tensor(("n", "m"), "float32")):
        n = T.int64()
        m = T.int64()
        with R.dataflow():
            a = R.nn.relu(x)
            b = R.reshape(a, R.shape([n * m]))
            c = R.tanh(b)
            d = R.reshape(c, R.shape([m, n]))
            s = R.shape_to_tensor(R.shape([n * m + 1, m]))
            R.output(d, s)
        return (d, s)


def test_reshapes_are_views_and_shapes_are_written_by_compiled_code() -> None:
    ex = build(Mixed)
    text = ex.as_text()
    assert "relax.run." not in text and "relax.run." not in ex.stats()
    assert "vm.builtin.reshape" in text
    for n, m in [(3, 4), (1, 1), (0, 5), (17, 31)]:
        x = np.random.default_rng(0).random((n, m), "float32")
        d, s = call(ex, x)
        np.testing.assert_allclose(d, np.tanh(x).reshape(m, n), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(s, [n * m + 1, m])


def test_shape_to_tensor_becomes_a_kernel_of_plain_symbols() -> None:
    @I.ir_module
    class Before:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32")) -> R.Tensor((2,), "int64"):
            n = T.int64()
            m = T.int64()
            with R.dataflow():
                s = R.shape_to_tensor(R.shape([n * 2, m]))
                R.output(s)
            return s

    @I.ir_module
    class After:
        @T.prim_func(private=True, s_tir=True)
        def write_shape(n: T.int64, m: T.int64, out: T.Buffer((2,), "int64")):
            T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
            out[T.int64(0)] = n * T.int64(2)
            out[T.int64(1)] = m

        @R.function
        def main(x: R.Tensor(("n", "m"), "float32")) -> R.Tensor((2,), "int64"):
            n = T.int64()
            m = T.int64()
            cls = After
            with R.dataflow():
                s = R.call_tir(cls.write_shape, (n, m), out_ty=R.Tensor((2,), "int64"))
                R.output(s)
            return s

    tvm.ir.assert_structural_equal(LowerShapeToTensor()(Before), After)


def test_a_shape_of_unknown_dims_is_matched_before_it_is_written() -> None:
    @I.ir_module
    class Unknown:
        @R.function
        def main(x: R.Tensor(ndim=2, dtype="float32")) -> R.Tensor((2,), "int64"):
            with R.dataflow():
                shape = R.shape_of(x)
                s = R.shape_to_tensor(shape)
                R.output(s)
            return s

    (got,) = call(build(Unknown), np.zeros((3, 5), "float32"))
    np.testing.assert_array_equal(got, [3, 5])


def test_operators_that_need_python_at_run_time_are_refused() -> None:
    @I.ir_module
    class Unique:
        @R.function
        def main(x: R.Tensor(("n",), "int64")):
            return R.unique(x)

    # Errors that cross TVM's C++ keep their class only where it is registered with tvm_ffi.
    with pytest.raises(
        (BuildError, RuntimeError), match="main: operator unique would call the Python function"
    ):
        build(Unique)


def test_a_library_runs_in_a_process_without_this_package(tmp_path: Path) -> None:
    path = tmp_path / "mixed.so"
    build(Mixed).export_library(str(path))
    program = (
        "import sys, numpy as np, tvm\n"
        f"module = tvm.runtime.load_module({str(path)!r})\n"
        "vm = tvm.relax.VirtualMachine(module, tvm.cpu())\n"
        "d, s = vm['main'](tvm.runtime.tensor(np.ones((2, 3), 'float32')))\n"
        "assert s.numpy().tolist() == [7, 3] and d.numpy().shape == (3, 2)\n"
        "assert not any(name.startswith('tvm_sod2.') and name != 'tvm_sod2.backend'\n"
        "               for name in sys.modules), sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_plan_can_be_read_before_anything_is_lowered() -> None:
    mod = tvm.transform.Sequential(
        [LowerShapeToTensor(), relax.transform.LegalizeOps(), OrderForMemory()]
    )(Mixed)
    text = str(memory_plan(mod))
    assert text.startswith("memory plan of main, bytes of the arena: ")
    assert "float32(n, m)" in text


def test_the_pool_does_not_grow_with_every_new_length() -> None:
    @I.ir_module
    class Long:
        @R.function
        def main(x: R.Tensor(("n", 4096), "float32")):
            with R.dataflow():
                a = R.nn.relu(x)
                b = R.negative(a)
                R.output(b)
            return b

    main = relax.VirtualMachine(build(Long), tvm.cpu())["main"]
    x = np.zeros((200, 4096), "float32")
    main(tvm.runtime.tensor(x))
    before = _resident_bytes()
    for n in range(1, 200):
        main(tvm.runtime.tensor(x[:n]))
    # One exact size for each length, twice, would be 650 MB.
    assert _resident_bytes() - before < 50e6


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
