"""A result that its caller dropped gives its memory to the next one."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

import tvm_sod2
from tvm_sod2.passes.release_result import release_result


@I.ir_module
class Root:
    @R.function
    def main(x: R.Tensor(("n",), "float32")) -> R.Tensor(("n",), "float32"):
        y = R.sqrt(x)
        return y

    @R.function(private=True)
    def part(x: R.Tensor(("n",), "float32")) -> R.Tensor(("n",), "float32"):
        y = R.sqrt(x)
        return y


def test_public_functions_begin_with_it() -> None:
    mod = release_result(Root)
    first = mod["main"].body.blocks[0].bindings[0].value
    assert isinstance(first, relax.Call) and first.op.name_hint == "release_result"
    assert not mod["release_result"].params
    tvm.ir.assert_structural_equal(mod["part"], Root["part"])


def test_a_dropped_result_is_reused() -> None:
    main = relax.VirtualMachine(tvm_sod2.build(Root), tvm.cpu())["main"]
    x = tvm.runtime.tensor(np.ones(1 << 16, np.float32))

    def address() -> int:
        return int(np.from_dlpack(main(x)).ctypes.data)

    kept = main(x)
    assert len({address() for _ in range(4)}) == 1
    np.testing.assert_array_equal(kept.numpy(), x.numpy())
