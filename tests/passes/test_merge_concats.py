"""Concats and splits merge where one moves what the other moves anyway."""

from __future__ import annotations

import numpy as np
import tvm
from rewriting import operators, run
from tvm.script import ir as I
from tvm.script import relax as R

from tvm_sod2.passes.merge_concats import merge_concats


@I.ir_module
class Nested:
    @R.function
    def main(
        x: R.Tensor(("n", "a"), "float32"),
        y: R.Tensor(("n", "b"), "float32"),
        z: R.Tensor(("n", "c"), "float32"),
    ):
        with R.dataflow():
            inner = R.concat((y, z), axis=1)
            out = R.concat((x, inner, x), axis=-1)
            R.output(out)
        return out


@I.ir_module
class OtherAxis:
    @R.function
    def main(x: R.Tensor(("n", 4), "float32"), y: R.Tensor(("n", 2), "float32")):
        with R.dataflow():
            inner = R.concat((y, y), axis=1)
            out = R.concat((x, inner), axis=0)
            R.output(out)
        return out


@I.ir_module
class Rejoined:
    @R.function
    def main(x: R.Tensor(("n", 6), "float32"), y: R.Tensor(("n", 3), "float32")):
        with R.dataflow():
            pieces = R.split(x, 2, axis=1)
            first = pieces[0]
            second = pieces[1]
            changed = R.exp(second)
            out = R.concat((first, second, changed, y), axis=1)
            R.output(out)
        return out


@I.ir_module
class RejoinedAfter:
    @R.function
    def main(x: R.Tensor(("n", 6), "float32"), y: R.Tensor(("n", 3), "float32")):
        with R.dataflow():
            second = R.strided_slice(x, axes=[1], begin=[3], end=[6])
            changed = R.exp(second)
            out = R.concat((x, changed, y), axis=1)
            R.output(out)
        return out


@I.ir_module
class Swapped:
    @R.function
    def main(x: R.Tensor(("n", 6), "float32")):
        with R.dataflow():
            pieces = R.split(x, 2, axis=1)
            first = pieces[0]
            second = pieces[1]
            out = R.concat((second, first), axis=1)
            R.output(out)
        return out


@I.ir_module
class Whole:
    @R.function
    def main(x: R.Tensor(("n", 6), "float32")):
        with R.dataflow():
            pieces = R.split(x, [1, 4], axis=1)
            first = pieces[0]
            second = pieces[1]
            third = pieces[2]
            whole = R.concat((first, second, third), axis=1)
            out = R.exp(whole)
            R.output(out)
        return out


@I.ir_module
class UnknownSizes:
    @R.function
    def main(x: R.Tensor((6, "n"), "float32")):
        with R.dataflow():
            pieces = R.split(x, [2], axis=1)
            second = pieces[1]
            out = R.exp(second)
            R.output(out)
        return out


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_a_nested_concat_is_one() -> None:
    after = merge_concats(Nested)
    assert operators(after) == ["concat"]
    for n, a, b, c in ((3, 2, 1, 5), (1, 0, 4, 0), (0, 1, 2, 3)):
        x, y, z = numbers(n, a), numbers(n, b), numbers(n, c)
        found = run(after, x, y, z)
        np.testing.assert_array_equal(found, np.concatenate([x, y, z, x], 1))


def test_along_another_axis_it_stays() -> None:
    tvm.ir.assert_structural_equal(merge_concats(OtherAxis), OtherAxis)


def test_pieces_of_a_split_in_a_row_are_what_was_split() -> None:
    after = merge_concats(Rejoined)
    tvm.ir.assert_structural_equal(after["main"], RejoinedAfter["main"])
    x, y = numbers(5, 6), numbers(5, 3)
    expected = np.concatenate([x, np.exp(x[:, 3:]), y], 1)
    np.testing.assert_allclose(run(after, x, y), expected, rtol=1e-6)


def test_in_another_order_they_stay_pieces() -> None:
    tvm.ir.assert_structural_equal(merge_concats(Swapped), Swapped)


def test_a_split_put_together_again_is_nothing() -> None:
    assert operators(merge_concats(Whole)) == ["exp"]


def test_a_piece_of_unknown_size_is_no_slice() -> None:
    tvm.ir.assert_structural_equal(merge_concats(UnknownSizes), UnknownSizes)
