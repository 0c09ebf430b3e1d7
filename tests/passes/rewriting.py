"""What the tests of rewriting passes share."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from tvm_sod2.passes.fold_constants import constant_array

rng = np.random.default_rng(0)
WEIGHT = rng.normal(size=(4, 3, 3, 3)).astype("float32")
SCALE = rng.normal(size=(1, 4, 1, 1)).astype("float32")
SHIFT = rng.normal(size=(4, 1, 1)).astype("float32")


def operators(mod: tvm.IRModule) -> list[str]:
    """The operators of main, in order."""
    return [
        b.value.op.name.removeprefix("relax.").removeprefix("nn.")
        for block in mod["main"].body.blocks
        for b in block.bindings
        if isinstance(b.value, relax.Call)
    ]


def constants(mod: tvm.IRModule) -> list[np.ndarray]:
    """The constant operands of main's operators, in order."""
    calls = [b.value for block in mod["main"].body.blocks for b in block.bindings]
    arrays = [constant_array(a) for c in calls if isinstance(c, relax.Call) for a in c.args]
    return [array for array in arrays if array is not None]


def run(mod: tvm.IRModule, *arrays: np.ndarray) -> np.ndarray:
    main = relax.VirtualMachine(tvm.compile(mod, tvm.target.Target("llvm")), tvm.cpu())["main"]
    return main(*map(tvm.runtime.tensor, arrays)).numpy()
