"""Functions around the fused groups keep the symbols that their parameters' types need."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

import tvm_sod2
from tvm_sod2.passes.fuse_tir import fuse_tir


@I.ir_module
class Net:
    """The arm reads a tensor whose dim is computed from a number that only the run knows."""

    @R.function
    def main(x: R.Tensor(("n",), "float32"), c: R.Tensor((), "bool")):
        k = T.int64()
        one = R.ones(R.shape([1]), "int64")
        places_raw = R.nonzero(x)
        places = R.match_cast(places_raw, R.Tensor((1, k), "int64"))
        flat = R.reshape(places, R.shape([k]))
        more = R.concat((flat, one), axis=0)
        if c:
            y = R.sum(more)
        else:
            z = R.max(more)
            y = R.negative(z)
        return y


def test_arms_get_the_symbols_of_computed_dims() -> None:
    main = relax.VirtualMachine(tvm_sod2.build(Net), tvm.cpu())["main"]
    for x in ([0.0, 3, 0, 5], [0.0], [1.0] * 17):
        places = [*np.flatnonzero(x), 1]
        for taken in (True, False):
            given = np.asarray(x, "float32"), np.asarray(taken)
            found = main(*map(tvm.runtime.tensor, given)).numpy()
            assert found == (sum(places) if taken else -max(places))


@pytest.mark.parametrize("exported", [False, True])
def test_only_what_it_changed_is_changed_back(exported: bool) -> None:
    @I.ir_module
    class Called:
        @R.function(private=True)
        def inner(s: R.Shape(["n"]), x: R.Tensor(("n + 1",), "float32")) -> R.Tensor((), "float32"):
            y = R.full(R.shape([]), R.const(1, "float32"), "float32")
            return y

        @R.function
        def main(x: R.Tensor(("n",), "float32")):
            n = T.int64()
            cls = Called
            z = R.concat((x, R.const([1.0], "float32")), axis=0)
            y = cls.inner(R.shape([n]), z)
            return y

    mod = relax.transform.LegalizeOps()(Called)
    if exported:
        mod["inner"] = mod["inner"].with_attr("global_symbol", "known_outside")
    after = fuse_tir(mod)
    assert [param.name for param in after["inner"].params] == ["s", "x"]
    symbols = {name: (after[name].attrs or {}).get("global_symbol") for name in ("inner", "main")}
    assert symbols == {"inner": "known_outside" if exported else None, "main": "main"}
