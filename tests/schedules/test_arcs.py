"""Hyperbolic and inverse functions against float64, alone, shared and behind a convolution."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax, tirx
from tvm.script import ir as I
from tvm.script import relax as R

import tvm_sod2
from tvm_sod2.schedules.arcs import FUNCTIONS

REFERENCE = {
    **{name: getattr(np, name) for name in ("sinh", "cosh")},
    **{
        name: getattr(np, f"arc{name[1:]}")
        for name in ("asinh", "acosh", "atanh", "asin", "acos", "atan")
    },
}
WIDE = np.concatenate([np.linspace(-80, 80, 3001), np.linspace(-2, 2, 4001), [1e-20, 0.0, -1e-9]])
UNIT = np.concatenate([np.linspace(-1, 1, 4001), [1e-20, 1 - 1e-7, -1 + 1e-7]])
OVER_ONE = np.concatenate([np.linspace(1, 3, 2001), 1 + np.logspace(-6, 30, 2001)])
DOMAIN = {
    "sinh": WIDE,
    "cosh": WIDE,
    "asinh": np.concatenate([WIDE, np.logspace(1, 30, 501), -np.logspace(1, 30, 501)]),
    "acosh": OVER_ONE,
    "atanh": UNIT[np.abs(UNIT) < 1],
    "asin": UNIT,
    "acos": UNIT,
    "atan": np.concatenate([WIDE, [np.inf, -np.inf, 1e30, np.nan]]),
}


@pytest.fixture(scope="module")
def every() -> relax.VirtualMachine:
    """One function for each: `name` of its input, used twice."""
    bb = relax.BlockBuilder()
    for name in FUNCTIONS:
        x = relax.Var("x", relax.TensorType([tirx.Var("n", "int64")], "float32"))
        with bb.function(name, [x]):
            with bb.dataflow():
                y = bb.emit(getattr(relax.op, name)(x))
                twice = bb.emit(relax.op.nn.leakyrelu(y, 1.0))
                out = bb.emit_output(twice)
            bb.emit_func_output(out)
    return relax.VirtualMachine(tvm_sod2.build(bb.get()), tvm.cpu())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_close_to_float64(every: relax.VirtualMachine, name: str) -> None:
    x = DOMAIN[name].astype("float32")
    expected = REFERENCE[name](x.astype("float64"))
    mine = every[name](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(mine, expected, rtol=2e-6, atol=2e-7 if name == "acos" else 1e-30)


def test_behind_a_convolution() -> None:
    @I.ir_module
    class Module:
        @R.function
        def main(x: R.Tensor(("n", 2, "h", 5), "float32"), w: R.Tensor((3, 2, 1, 1), "float32")):
            with R.dataflow():
                y = R.sinh(R.nn.conv2d(x, w))
                R.output(y)
            return y

    rng = np.random.default_rng(0)
    x, w = (rng.uniform(-1, 1, shape).astype("float32") for shape in ((2, 2, 3, 5), (3, 2, 1, 1)))
    main = relax.VirtualMachine(tvm_sod2.build(Module), tvm.cpu())["main"]
    expected = np.sinh(np.einsum("ncij,oc->noij", x, w[:, :, 0, 0]))
    got = main(tvm.runtime.tensor(x), tvm.runtime.tensor(w)).numpy()
    np.testing.assert_allclose(got, expected, 1e-5, 1e-6)
