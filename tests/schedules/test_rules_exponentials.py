"""The short exponential of softmaxes: how exact it is, and where it stands."""

from __future__ import annotations

import numpy as np
import pytest
import tvm_ffi
from rules_cases import Kernel, dims, fused, random, tensor
from scipy import special
from test_math import apply, loop
from tvm import relax
from tvm.ir import Call
from tvm.tirx import PrimFunc

from tvm_sod2.schedules.rules.exponentials import exp_of_negative
from tvm_sod2.schedules.rules.stages import reduced_program

op = relax.op
n, w = dims("nw")


def calls_of_exp(func: PrimFunc) -> int:
    """Exponentials in general that are left after all rewriting."""
    program, found = reduced_program(func), []

    def call(node: Call) -> None:
        found.append(node)

    assert program is not None
    for stage in program.stages:
        for value in stage.values:
            tvm_ffi.structural_walk(value, [(Call, call)])
    return sum(node.op.name == "tirx.exp" for node in found)


def test_against_float64() -> None:
    x = -np.concatenate([[0.0], np.geomspace(1e-30, 86.6, 100_000), np.linspace(0, 86.6, 399_999)])
    x = x.astype(np.float32)[: len(x) // 16 * 16]
    found, _ = apply(loop(exp_of_negative), x)
    np.testing.assert_allclose(found, np.exp(x.astype(np.float64)), rtol=4e-7, atol=0)
    assert found[0] == 1.0


def test_what_is_below_and_what_is_no_number() -> None:
    x = np.array([-86.7, -90, -104, -1e10, -3e38, -np.inf, np.nan, -0.0] * 2, np.float32)
    found, _ = apply(loop(exp_of_negative), x)
    np.testing.assert_array_equal(found, np.array([0, 0, 0, 0, 0, 0, np.nan, 1] * 2, np.float32))


@pytest.mark.parametrize("columns", [1, 15, 16, 17, 6625])
@pytest.mark.parametrize("log", [False, True])
def test_in_softmax_and_its_logarithm(columns: int, log: bool) -> None:
    softmax = op.nn.log_softmax if log else op.nn.softmax
    kernel = Kernel([tensor(n, w)], lambda bb, x: softmax(x, axis=-1))
    assert calls_of_exp(kernel.func) == 0
    reference = special.log_softmax if log else special.softmax
    for scale in (1, 30, 1000):
        x = random(3, columns) * np.float32(scale)
        expected = reference(x.astype(np.float64), axis=-1)
        np.testing.assert_allclose(kernel(x)[0], expected, rtol=5e-6, atol=1e-6 if log else 1e-37)


def test_not_in_other_sums() -> None:
    def plain(bb, x):
        return op.sum(bb.emit(op.exp(x)), axis=[1])

    assert calls_of_exp(fused([tensor(n, w)], plain)) == 1
