"""Bounds of dims: written as TVM's attributes, refused where they mean nothing."""

from __future__ import annotations

import pytest
from tvm.script import ir as I
from tvm.script import relax as R

from tvm_sod2.errors import BuildError
from tvm_sod2.passes.bounds import dim_bounds, input_symbols, with_bounds


@I.ir_module
class Two:
    @R.function
    def main(x: R.Tensor(("n", 3), "float32"), y: R.Tensor(("m",), "float32")):
        z = R.nn.relu(x)
        return z

    @R.function
    def other(x: R.Tensor(("n",), "float32")):
        z = R.nn.relu(x)
        return z


def test_every_function_gets_the_bounds_of_its_own_dims() -> None:
    bounded = with_bounds(Two, {"n": (1, 512), "m": (0, 7)})
    assert dim_bounds(bounded["main"]) == {"n": (1, 512), "m": (0, 7)}
    assert dim_bounds(bounded["other"]) == {"n": (1, 512)}
    assert dim_bounds(Two["main"]) == {}


def test_a_lower_bound_alone_counts() -> None:
    func = Two["main"].with_attr("tir_var_lower_bound", {"n": 2})
    assert dim_bounds(func) == {"n": (2,)}


def test_symbols_come_in_the_order_of_the_parameters() -> None:
    assert [symbol.name for symbol in input_symbols(Two["main"])] == ["n", "m"]


@pytest.mark.parametrize("bound", [(5, 4), (-1, 4)])
def test_an_empty_or_negative_range_is_refused(bound: tuple[int, int]) -> None:
    low, high = bound
    with pytest.raises(BuildError, match=f"bound of dim 'n' is {low}:{high}, expected 0 <= low"):
        with_bounds(Two, {"n": bound})


def test_a_dim_that_no_input_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(BuildError, match="no input has a dim called seq; the dims are: m, n"):
        with_bounds(Two, {"seq": (1, 2)})
