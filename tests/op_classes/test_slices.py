"""The length of a slice with known or symbolic bounds, against Python's own."""

from __future__ import annotations

import pytest

from tests.op_classes.harness import arithmetic, envs, evaluate, j, k, m, n
from tvm_sod2.op_classes.fact import entries
from tvm_sod2.op_classes.shapes.index import slice_length


@pytest.mark.parametrize("stride", [1, 2, 3, -1, -2])
def test_slices_clamp_as_numpys(stride: int) -> None:
    for size in (0, 1, 5, 8):
        for begin in (-9, -3, -1, 0, 1, 4, 9):
            for end in (-9, -4, -1, 0, 2, 5, 9):
                found = slice_length(arithmetic(), size, begin, end, stride)
                assert found == len(range(size)[begin:end:stride]), (size, begin, end)


@pytest.mark.parametrize("stride", [1, 2, -1, -3])
def test_symbolic_slices_clamp_as_numpys(stride: int) -> None:
    known = arithmetic()
    for begin, end in [(k, j), (0, m), (-3, -1), (m - 2, 1), (5, k + 1)]:
        length = slice_length(known, n, begin, end, stride)
        for env in envs(12):
            bounds = [evaluate(entries([bound])[0], env) for bound in (begin, end)]
            expected = len(range(env["n"])[bounds[0] : bounds[1] : stride])
            assert evaluate(length, env) == expected, env
