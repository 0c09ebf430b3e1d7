"""Dims that Relax's inference leaves out get symbols; those that have names keep them."""

from __future__ import annotations

import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

import tvm_sod2
from tvm_sod2.errors import BuildError
from tvm_sod2.memory.text import to_python
from tvm_sod2.passes.name_unknown import name_unknown_dims


@I.ir_module
class Found:
    @R.function
    def main(x: R.Tensor(("n",), "float32")):
        with R.dataflow():
            places = R.nonzero(R.greater(x, R.const(0.0, "float32")))
            y = R.astype(places, "float32")
            R.output(y)
        return y


def casts(mod: tvm.IRModule) -> list[list[str]]:
    """The dims that main's match_casts state, in order."""
    bindings = [b for block in mod["main"].body.blocks for b in block.bindings]
    types = [b.ty for b in bindings if isinstance(b, relax.MatchCast)]
    return [[to_python(dim) for dim in ty.shape.values] for ty in types]


def test_every_result_of_unknown_dims_gets_symbols_of_its_own() -> None:
    named = name_unknown_dims(Found)
    relax.analysis.well_formed(named)
    assert casts(named) == [["places_0", "places_1"], ["y_0", "y_1"]]
    assert casts(name_unknown_dims(named)) == casts(named)


def test_dims_that_a_match_cast_names_stay() -> None:
    @I.ir_module
    class Named:
        @R.function
        def main(x: R.Tensor(("n",), "float32")):
            m = T.int64()
            with R.dataflow():
                places = R.nonzero(x)
                y = R.match_cast(places, R.Tensor((1, m), "int64"))
                R.output(y)
            return y

    assert casts(name_unknown_dims(Named)) == [["1", "m"]]


def test_an_unknown_rank_is_refused_by_name() -> None:
    @I.ir_module
    class Anything:
        @R.function
        def main(x: R.Tensor("float32")):
            with R.dataflow():
                activated = R.nn.relu(x)
                R.output(activated)
            return activated

    with pytest.raises(BuildError, match="activated: the rank of its result"):
        tvm_sod2.build(Anything)
