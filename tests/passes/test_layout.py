"""Convolutions run channels-last between two transposes."""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tests.passes.rewriting import SCALE, WEIGHT, operators
from tvm_sod2.passes.cancel_permutes import cancel_permutes
from tvm_sod2.passes.layout import convert_layout, layout_passes


def test_convolutions_run_channels_last_between_two_permutes() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", 3, "h", "w"), "float32")):
            with R.dataflow():
                a = R.nn.conv2d(x, R.const(WEIGHT), padding=1)
                b = R.nn.relu(R.add(a, R.const(SCALE)))
                c = R.nn.max_pool2d(b, pool_size=[2, 2], strides=[2, 2])
                R.output(c)
            return c

    converted = tvm.transform.Sequential([*layout_passes(), cancel_permutes])(Net)
    relax.analysis.well_formed(converted)
    expected = ["permute_dims", "conv2d", "add", "relu", "max_pool2d", "permute_dims"]
    assert operators(converted) == expected


def test_a_branch_behind_a_symbol_survives() -> None:
    """TVM's ConvertLayout loses an If whose type names a symbol of a match_cast."""

    @I.ir_module
    class Module:
        @R.function
        def main(x: R.Tensor(("n",), "float32"), c: R.Tensor((), "bool")):
            m = T.int64()
            y = R.match_cast(R.unique(x), R.Tensor((m,), "float32"))
            if c:
                z = R.exp(y)
            else:
                z = R.negative(y)
            w = R.negative(z)
            return w

    converted = convert_layout(Module)
    relax.analysis.well_formed(converted)
    assert tvm_ffi.structural_equal(converted, Module)


def test_a_branch_beside_a_convolution_survives() -> None:
    @I.ir_module
    class Module:
        @R.function
        def main(
            i: R.Tensor(("b", 3, "h", "w"), "float32"),
            x: R.Tensor(("n",), "float32"),
            c: R.Tensor((), "bool"),
        ):
            m = T.int64()
            y = R.match_cast(R.unique(x), R.Tensor((m,), "float32"))
            if c:
                z = R.exp(y)
            else:
                z = R.negative(y)
            w = R.negative(z)
            with R.dataflow():
                a = R.nn.conv2d(i, R.const(WEIGHT), padding=1)
                R.output(a)
            return (a, w)

    converted = convert_layout(Module)
    relax.analysis.well_formed(converted)
    assert {"conv2d", "negative"} <= set(operators(converted))
    assert "R.exp" in str(converted["main"])


def test_a_tuple_with_more_than_tensors_survives() -> None:
    """TVM's ConvertLayout drops it."""

    @I.ir_module
    class Module:
        @R.function
        def main(x: R.Tensor(("b", 3, "h", "w"), "float32"), items: R.Any):
            with R.dataflow():
                a = R.nn.relu(R.nn.conv2d(x, R.const(WEIGHT), padding=1))
                both = (a, items)
                R.output(both)
            return both

    converted = convert_layout(Module)
    relax.analysis.well_formed(converted)
    assert operators(converted)[-3:] == ["conv2d", "relu", "permute_dims"]
    (block,) = converted["main"].body.blocks
    last = block.bindings[-1].value
    assert isinstance(last, relax.Tuple)
    assert last.fields[1].same_as(converted["main"].params[1])
