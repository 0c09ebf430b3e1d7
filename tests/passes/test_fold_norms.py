"""Layer normalisation that an exporter spelled out is recognised."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tests.passes.rewriting import operators, rng, run
from tvm_sod2.passes.fold_norms import fold_norms


def spelled_out(epsilon: float, axis: int) -> tvm.IRModule:
    gamma, beta = (R.const(rng.normal(size=8).astype("float32")) for _ in range(2))

    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 8, 8), "float32")):
            with R.dataflow():
                mean = R.mean(x, axis=[axis], keepdims=True)
                centred = R.subtract(x, mean)
                variance = R.mean(R.multiply(centred, centred), axis=[axis], keepdims=True)
                deviation = R.sqrt(R.add(variance, R.const(epsilon)))
                y = R.add(R.multiply(R.divide(centred, deviation), gamma), beta)
                R.output(y)
            return y

    return Net


def test_layer_normalisation_is_recognised() -> None:
    mod = spelled_out(1e-5, 2)
    folded = fold_norms(mod)
    relax.analysis.well_formed(folded)
    assert "layer_norm" in operators(folded)
    x = rng.normal(size=(3, 8, 8)).astype("float32")
    np.testing.assert_allclose(run(folded, x), run(mod, x), atol=1e-5)


def test_normalisation_over_another_axis_is_not_layer_normalisation() -> None:
    assert "layer_norm" not in operators(fold_norms(spelled_out(1e-5, 1)))


def test_casts_that_state_dims_stay() -> None:
    gamma, beta = (R.const(rng.normal(size=8).astype("float32")) for _ in range(2))

    @I.ir_module
    class Net:
        @R.function
        def main(
            x: R.Tensor(("n", 8), "float32"), z: R.Tensor(ndim=2, dtype="float32")
        ) -> R.Tensor(("n", 8), "float32"):
            n, m = T.int64(), T.int64()
            with R.dataflow():
                other = R.match_cast(z, R.Tensor((m, 8), "float32"))
                mean = R.mean(x, axis=[1], keepdims=True)
                centred = R.subtract(x, mean)
                variance = R.mean(R.multiply(centred, centred), axis=[1], keepdims=True)
                deviation = R.sqrt(R.add(variance, R.const(1e-5)))
                y = R.add(R.multiply(R.divide(centred, deviation), gamma), beta)
                same = R.match_cast(R.nn.relu(other), R.Tensor((n, 8), "float32"))
                result = R.add(y, same)
                R.output(result)
            return result

    folded = fold_norms(Net)
    relax.analysis.well_formed(folded)
    casts = [
        binding
        for block in folded["main"].body.blocks
        for binding in block.bindings
        if isinstance(binding, relax.MatchCast)
    ]
    assert "layer_norm" in operators(folded)
    assert len(casts) == 2
