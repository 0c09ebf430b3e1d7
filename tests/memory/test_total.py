"""The recorded size of the arena counts the arenas of called functions."""

from __future__ import annotations

import tvm
from random_nets import EXPLICIT
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.memory import arena_bytes
from tvm_sod2.memory.arena import ARENA_BYTES, PlanArena
from tvm_sod2.passes.outline import OutlineControlFlow


def recorded(mod: tvm.IRModule, name: str = "main") -> str:
    passes = [OutlineControlFlow(), EXPLICIT, PlanArena()]
    return str(tvm.transform.Sequential(passes)(mod)[name].attrs[ARENA_BYTES])


def test_the_larger_arm_is_added_in_the_callers_dims() -> None:
    @I.ir_module
    class Arms:
        @R.function
        def main(x: R.Tensor(("n", 16), "float32"), c: R.Tensor((), "bool")):
            w = R.concat([x, x])
            v = R.tanh(w)
            if c:
                a = R.tanh(v)
                b = R.exp(a)
                y = R.sin(b)
            else:
                y = R.exp(v)
            return R.add(y, v)

    # v beside w, then v beside what the then-arm needs for a and b: 2n rows each.
    text = recorded(Arms)
    for n in (0, 1, 5, 100):
        assert arena_bytes(text, {"n": n}) == n * 2 * 64 * 4
    assert recorded(Arms, "main_else_0") == "0"


def test_nothing_to_place_is_zero_bytes() -> None:
    @I.ir_module
    class Identity:
        @R.function
        def main(x: R.Tensor(("n",), "float32")):
            return x

    assert recorded(Identity) == "0"


def test_what_no_input_determines_is_not_recorded() -> None:
    @I.ir_module
    class Later:
        @R.function
        def main(x: R.Tensor(("n",), "float32"), s: R.Tensor((1,), "int64")):
            k = T.int64()
            shape = R.tensor_to_shape(s)
            _ = R.match_cast(shape, R.Shape([k]))
            a = R.zeros(R.shape([k]), "float32")
            b = R.exp(a)
            return R.sum(b)

    assert recorded(Later) == ""


def test_functions_that_call_each_other_in_a_cycle_are_not_recorded() -> None:
    @I.ir_module
    class Cycle:
        @R.function(private=True)
        def again(x: R.Tensor(("n",), "float32"), c: R.Tensor((), "bool")) -> R.Tensor(
            ("n",), "float32"
        ):
            cls = Cycle
            y = R.tanh(x)
            z = cls.again(y, c)
            return R.exp(z)

        @R.function
        def main(x: R.Tensor(("n",), "float32"), c: R.Tensor((), "bool")):
            cls = Cycle
            return cls.again(x, c)

    assert recorded(Cycle) == ""
    relax.analysis.well_formed(Cycle)


def test_two_versions_have_the_larger_of_their_arenas_in_their_own_short_texts() -> None:
    @I.ir_module
    class Versions:
        @R.function(private=True)
        def main_equal(x: R.Tensor(("n", 3), "float32")) -> R.Tensor(("n", 3), "float32"):
            a = R.exp(x)
            b = R.tanh(a)
            return R.sin(b)

        @R.function(private=True)
        def main_broadcast(x: R.Tensor(("n", 3), "float32")) -> R.Tensor(("n", 3), "float32"):
            a = R.concat([x, x])
            b = R.tanh(a)
            return R.strided_slice(b, [0], [0], [1])

        @R.function
        def main(x: R.Tensor(("n", 3), "float32")) -> R.Tensor(ndim=2, dtype="float32"):
            cls = Versions
            n = T.int64()
            if n == 5:
                y: R.Tensor(ndim=2, dtype="float32") = cls.main_equal(x)
            else:
                y: R.Tensor(ndim=2, dtype="float32") = cls.main_broadcast(x)
            return y

    texts = [recorded(Versions, f"main_{name}") for name in ("equal", "broadcast")]
    assert recorded(Versions) == f"max({', '.join(texts)})"
