"""Memory that several variables name: tuples, views, in-place kernels, functions, externs."""

from __future__ import annotations

import numpy as np
import tvm
from random_nets import EXPLICIT
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2 import memory
from tvm_sod2.memory.arena import PlanArena
from tvm_sod2.memory.checker import check_memory
from tvm_sod2.passes.lower import lower_to_vm
from tvm_sod2.passes.shape_tensors import LowerShapeToTensor

HOST = tvm.target.Target({"kind": "llvm"})


def places(mod: tvm.IRModule) -> dict[str, str]:
    """Value -> "arena", or why it is not there. Checks the plan at a few dims."""
    mod = EXPLICIT(LowerShapeToTensor()(mod))
    plan = memory.plan(mod["main"], mod)
    planned = PlanArena()(mod)
    relax.analysis.well_formed(planned)
    symbols = plan.heights.sizes.names.values()
    for size in (0, 1, 6, 100):
        check_memory(planned, dict.fromkeys(symbols, size))
    inside = {t.name: "arena" for segment in plan.segments for t in segment.tensors}
    return inside | {a.name: str(a.kept_because) for a, _ in plan.kept}


def run(mod: tvm.IRModule, *inputs: np.ndarray) -> list[np.ndarray]:
    passes = [LowerShapeToTensor(), relax.transform.LegalizeOps(), *lower_to_vm(HOST)]
    ex = tvm.relax.build(mod, HOST, relax_pipeline=tvm.transform.Sequential(passes))
    out = relax.VirtualMachine(ex, tvm.cpu())["main"](*(tvm.runtime.tensor(v) for v in inputs))
    return [out.numpy()] if hasattr(out, "numpy") else [part.numpy() for part in out]


def test_the_parts_of_a_tuple_are_told_apart() -> None:
    @I.ir_module
    class Split:
        @R.function
        def main(x: R.Tensor(("n", 8), "float32")):
            with R.dataflow():
                parts = R.split(x, 2, axis=1)
                a = parts[0]
                b = parts[1]
                c = R.nn.relu(a)
                R.output(b, c)
            return (b, c)

    found = places(Split)
    assert sorted(found.values()) == ["arena", "result", "result"]
    x = np.arange(-12, 12, dtype="float32").reshape(3, 8)
    b, c = run(Split, x)
    np.testing.assert_array_equal(b, x[:, 4:])
    np.testing.assert_array_equal(c, np.maximum(x[:, :4], 0))


def test_kernels_that_write_into_an_argument() -> None:
    @I.ir_module
    class InPlace:
        @T.prim_func(private=True, s_tir=True)
        def increment(x: T.Buffer(("n",), "float32")):
            for i in range(x.shape[0]):
                with T.sblock("increment"):
                    v = T.axis.spatial(x.shape[0], i)
                    x[v] = x[v] + T.float32(1)

        @R.function
        def main(x: R.Tensor(("n",), "float32")):
            n = T.int64()
            cls = InPlace
            with R.dataflow():
                a = R.nn.relu(x)
                b = R.call_tir_inplace(
                    cls.increment, (a,), inplace_indices=[0], out_ty=R.Tensor((n,), dtype="float32")
                )
                c = R.tanh(b)
                d = R.add(c, b)
                R.output(d)
            return d

    assert list(places(InPlace).values()) == ["arena", "arena", "result"]
    x = np.linspace(-1, 1, 5, dtype="float32")
    a = np.maximum(x, 0) + 1
    np.testing.assert_allclose(run(InPlace, x)[0], np.tanh(a) + a, rtol=1e-5)


def test_what_a_private_function_returns_of_its_arguments_is_alive() -> None:
    @I.ir_module
    class Calls:
        @R.function(private=True)
        def identity(x: R.Tensor(("n",), "float32")) -> R.Tensor(("n",), "float32"):
            return x

        @R.function(private=True)
        def fresh(x: R.Tensor(("n",), "float32")) -> R.Tensor(("n",), "float32"):
            with R.dataflow():
                y = R.exp(x)
                R.output(y)
            return y

        @R.function
        def main(x: R.Tensor(("n",), "float32")):
            cls = Calls
            a = R.nn.relu(x)
            b = cls.identity(a)
            c = R.tanh(x)
            d = cls.fresh(c)
            e = R.add(b, d)
            f = R.sin(e)
            g = cls.identity(f)
            return g

    found = places(Calls)
    assert found == {"a": "arena", "c": "arena", "e": "arena", "f": "result"}
    x = np.linspace(-1, 1, 5, dtype="float32")
    want = np.sin(np.maximum(x, 0) + np.exp(np.tanh(x)))
    np.testing.assert_allclose(run(Calls, x)[0], want, rtol=1e-5, atol=1e-6)


def test_external_functions_that_return_something_may_keep_their_arguments() -> None:
    @I.ir_module
    class Extern:
        @R.function
        def main(x: R.Tensor(("n",), "float32")):
            n = T.int64()
            with R.dataflow():
                a = R.nn.relu(x)
                b = R.call_pure_packed("keeps", a, ty_args=(R.Tensor((n,), "float32"),))
                c = R.tanh(b)
                d = R.call_dps_packed("writes", (c,), out_ty=R.Tensor((n,), dtype="float32"))
                e = R.sin(d)
                R.output(e)
            return e

    assert places(Extern) == {
        "a": "an external function may keep it",
        "c": "arena",
        "d": "arena",
        "e": "result",
    }


def test_conditions_and_shapes_are_read_from_the_arena() -> None:
    @I.ir_module
    class Reads:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32"), s: R.Tensor((2,), "int64")):
            k = T.int64()
            j = T.int64()
            zero = R.sum(x)
            flag = R.greater(zero, R.const(0, "float32"))
            t = R.multiply(s, R.const(2, "int64"))
            u = R.divide(t, R.const(2, "int64"))
            shape = R.tensor_to_shape(u)
            _ = R.match_cast(shape, R.Shape([k, j]))
            if flag:
                p = R.tanh(x)
                y = R.add(p, x)
            else:
                q = R.exp(x)
                y = R.add(q, q)
            z = R.reshape(y, R.shape([k, j]))
            return R.sin(z)

    for sign in (1, -1):
        x = sign * np.random.default_rng(0).random((3, 8), "float32")
        (got,) = run(Reads, x, np.array([6, 4], "int64"))
        y = np.tanh(x) + x if sign > 0 else 2 * np.exp(x)
        np.testing.assert_allclose(got, np.sin(y.reshape(6, 4)), rtol=1e-4, atol=1e-5)
