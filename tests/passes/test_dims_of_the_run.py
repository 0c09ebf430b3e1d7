"""Dims that no check at entry can compare, in arms and decided by the run, are compared by name."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest
import tvm
from tvm import relax

import tvm_sod2

IN_AN_ARM = """(float[n,c,h] x, float[o,i,3] w, bool go) => (float[p,q,r] y) {
    y = If (go) <
        then_branch = a () => (float[s,t,u] z) { z = Conv (x, w) },
        else_branch = b () => (float[n,c,h] e) { e = Neg (x) }
    >
}"""
IN_A_LOOP = """(float[n,k] x, float[j,j] w, int64 trips) => (float[p,q] y) {
    y = Loop (trips, , x) <body = b (int64 i, bool go, float[r,s] u) => (bool same, float[t,v] z) {
        same = Identity (go)
        z = MatMul (u, w)
    }>
}"""
BY_THE_RUN = """(float[n] x, int64[1] k, float[j,m] w) => (float[p,q] y) {
    best, at = TopK (x, k)
    axes = Constant <value_ints = [0]> ()
    row = Unsqueeze (best, axes)
    y = MatMul (row, w)
}"""
BY_DATA = """(float[n] x, float[j,m] w) => (float[p,q] y) {
    z = NonZero (x)
    f = Cast <to = 1> (z)
    y = MatMul (f, w)
}"""


@pytest.mark.parametrize(
    ("text", "good", "bad", "message"),
    [
        (
            IN_AN_ARM,
            [(2, 3, 9), (4, 3, 3), np.array(True)],
            [(2, 3, 9), (4, 2, 3), np.array(True)],
            r"z \(Conv\): dim 1 of x is c, expected i",
        ),
        (
            IN_A_LOOP,
            [(2, 3), (3, 3), np.array(2)],
            [(2, 3), (4, 4), np.array(1)],
            r"z \(MatMul\): dim 0 of w is j, expected y_state_0_d1",
        ),
        (
            BY_THE_RUN,
            [(12,), np.array([4]), (4, 2)],
            [(12,), np.array([4]), (5, 2)],
            r"y \(MatMul\): dim 0 of w is j, expected best_k_s0",
        ),
        (BY_DATA, [(3,), (3, 4)], [(5,), (3, 4)], r"y \(MatMul\): dim 0 of w is j, expected z_co"),
    ],
    ids=["arm", "loop", "run", "data"],
)
def test_they_are_refused_by_the_name_of_the_node(
    text: str, good: list[tuple | np.ndarray], bad: list[tuple | np.ndarray], message: str
) -> None:
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 18]> graph {text}')
    machine = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(proto)), tvm.cpu())
    machine["main"](*map(given, good))
    with pytest.raises(ValueError, match=f"^{message}"):
        machine["main"](*map(given, bad))
    if text == IN_AN_ARM:  # What an arm needs binds nobody where the other runs.
        machine["main"](*map(given, [*bad[:2], np.array(False)]))


def given(what: tuple | np.ndarray) -> np.ndarray:
    """Ones of a shape, or an array as it is."""
    return np.ones(what, "float32") if isinstance(what, tuple) else what
