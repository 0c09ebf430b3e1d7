"""Positions, parts and counts that only the run knows: what they come to, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import tvm
from tvm import tirx

from tvm_sod2.schedules.places import count_kernel, ends_kernel, place_kernel

MESSAGE = "node n (Op): no such place"


def run(kernel: tirx.PrimFunc, given: Sequence[int], size: int, out: int) -> list[int]:
    """What the kernel writes for a vector and a size."""
    library = tvm.compile(tvm.IRModule({"kernel": kernel.with_attr("global_symbol", "kernel")}))
    result = tvm.runtime.tensor(np.full(out, -99))
    library["kernel"](tvm.runtime.tensor(np.asarray(given, "int64")), size, result)
    return result.numpy().tolist()


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("length", [0, 1, 5])
def test_a_place_is_counted_from_either_end(length: int, behind: bool) -> None:
    for place in range(-length - 2, length + 3):
        if -length <= place < length + behind:
            expected = place if place >= 0 else place + length
            assert run(place_kernel(MESSAGE, behind), [place], length, 1) == [expected]
        else:
            with pytest.raises(ValueError, match=r"^node n \(Op\): no such place$"):
                run(place_kernel(MESSAGE, behind), [place], length, 1)


def test_parts_end_where_their_sizes_add_up_to() -> None:
    for sizes in ([], [0], [3], [2, 0, 5, 1], [1] * 17):
        expected = np.cumsum(sizes, dtype="int64").tolist()
        assert run(ends_kernel(MESSAGE), sizes, sum(sizes), len(sizes)) == expected


@pytest.mark.parametrize(("sizes", "whole"), [([1, 2], 4), ([5, -1], 4), ([], 1), ([-1, 1], 0)])
def test_parts_that_do_not_cover_the_whole_are_refused(sizes: list[int], whole: int) -> None:
    with pytest.raises(ValueError, match="no such place"):
        run(ends_kernel(MESSAGE), sizes, whole, len(sizes))


def test_the_last_part_may_be_smaller() -> None:
    for whole in (0, 1, 7, 8, 9):
        for part in (1, 4, 100):
            assert run(count_kernel(MESSAGE), [part], whole, 1) == [-(-whole // part)]
    for part in (0, -3):
        with pytest.raises(ValueError, match="no such place"):
            run(count_kernel(MESSAGE), [part], 7, 1)
