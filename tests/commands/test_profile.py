"""The profile: what kernels are said to do, checked against sums made by hand; and its table."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

import tvm_sod2
from tvm_sod2.commands.profile import Line, by_kind, measure, table
from tvm_sod2.errors import Sod2Error


@I.ir_module
class Net:
    @R.function
    def main(
        x: R.Tensor(("n", 8, "h", "w"), "float32"),
        k: R.Tensor((20, 8, 3, 3), "float32"),
        up: R.Tensor((20, 7, 2, 2), "float32"),
        a: R.Tensor(("m", 33), "float32"),
        b: R.Tensor((33, 19), "float32"),
    ):
        with R.dataflow():
            y = R.nn.conv2d(x, k, strides=(2, 2), padding=(1, 1, 1, 1))
            z = R.nn.conv2d_transpose(y, up, strides=(2, 2))
            c = R.matmul(a, b)
            s = R.nn.softmax(c, axis=-1)
            t = R.permute_dims(s, (1, 0))
            e = R.exp(a)
            R.output(z, t, e)
        return (z, t, e)


def test_flops_and_bytes_are_those_of_the_shapes_given() -> None:
    rng = np.random.default_rng(0)
    weights = {"k": (20, 8, 3, 3), "up": (20, 7, 2, 2), "b": (33, 19)}
    params = {name: rng.standard_normal(shape).astype("f4") for name, shape in weights.items()}
    vm = relax.VirtualMachine(tvm_sod2.build(Net, params=params), tvm.cpu())
    given = [tvm.runtime.tensor(np.zeros(shape, "f4")) for shape in ((2, 8, 11, 7), (5, 33))]
    lines, whole = measure(vm, partial(vm["main"], *given), repeat=2)

    flops = dict.fromkeys(("conv2d", "conv2d_transpose", "matmul"), 0.0)
    for line in lines:
        if line.flops:
            flops[line.kind] += line.flops
    pixels = 2 * 6 * 4
    assert flops == {
        "conv2d": 2 * pixels * 20 * 9 * 8,
        "conv2d_transpose": 2 * pixels * 4 * 7 * 20,  # each input pixel reaches 4 outputs
        "matmul": 2 * 5 * 33 * 19,
    }
    (exponential,) = (line for line in lines if line.name.endswith("exp"))
    assert (exponential.calls, exponential.bytes) == (1, 2 * 5 * 33 * 4)
    assert exponential.kind == "elementwise"
    assert {"reduction", "copy"} <= {line.kind for line in lines}
    assert whole > 0
    assert all(line.seconds > 0 and line.made_by for line in lines)


def test_a_library_that_says_nothing_of_its_kernels_is_refused() -> None:
    @I.ir_module
    class Plain:
        @R.function
        def main(x: R.Tensor(("n",), "float32")):
            return x

    vm = relax.VirtualMachine(tvm.compile(Plain, tvm.target.Target({"kind": "llvm"})), tvm.cpu())
    with pytest.raises(Sod2Error, match="no function sod2_kernels"):
        measure(vm, lambda: None, repeat=1)


LINES = [
    Line("wide", "matmul", "gemm", 2, 3e-3, 1.5e8, 6e6),
    Line("move", "copy", "rule", 1, 1e-3, 0, 2e6),
    Line("small", "matmul", "gemm", 1, 1e-3, 5e7, 0),
]


def test_kinds_add_up_and_the_rest_is_what_no_kernel_took() -> None:
    kinds = by_kind(LINES, 8e-3)
    assert [(kind.name, kind.calls) for kind in kinds[:2]] == [("matmul", 3), ("copy", 1)]
    assert [kind.seconds for kind in kinds] == pytest.approx([4e-3, 1e-3, 3e-3])
    assert kinds[0].flops == 2e8


def test_table() -> None:
    text = table(LINES, 8e-3, peak=1e11).splitlines()
    (wide,) = (line for line in text if "wide (gemm)" in line)
    assert wide.split()[:6] == ["2", "3.000", "37.5%", "50.0", "50%", "2.0"]
    (copies,) = (line for line in text if line.startswith("copy"))
    assert copies.split() == ["copy", "1", "1.000", "12.5%", "2.0"]
