"""Edges repeated and reflected against NumPy, also where a pad is wider than what it reflects."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from rules_cases import dims
from tvm import relax
from tvm.relax import op as R

import tvm_sod2

SHAPES = [(1, 1, 1), (2, 3, 2), (1, 4, 15), (3, 2, 16), (2, 5, 33), (0, 2, 3)]


@pytest.mark.parametrize(("mode", "name"), [("replicate", "edge"), ("reflect", "reflect")])
@pytest.mark.parametrize("widths", [(0, 0, 1, 2, 3, 1), (2, 1, 0, 0, 0, 7)])
def test_pads_are_numpys(mode: str, name: str, widths: tuple[int, ...]) -> None:
    x = relax.Var("x", relax.TensorType(dims("nhw"), "float32"))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            y = bb.emit_output(R.nn.pad(x, widths, mode))
        bb.emit_func_output(y)
    main = relax.VirtualMachine(tvm_sod2.build(bb.get()), tvm.cpu())["main"]
    pairs = list(zip(widths[::2], widths[1::2], strict=True))
    for shape in SHAPES:
        if not shape[0] and any(pairs[0]):
            continue  # There is nothing to repeat.
        array = np.random.default_rng(0).random(shape, np.float32)
        found = main(tvm.runtime.tensor(array)).numpy()
        np.testing.assert_array_equal(found, np.pad(array, pairs, name))
