"""The best k of many against NumPy's stable sort, ties and all."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from rules_cases import TARGET

from tvm_sod2.schedules.selection import select_best

SHAPES = [((6, 7), 3), ((1, 1), 1), ((6, 5), 5), ((3, 0), 0), ((2, 9), 0)]
LARGE = [((4, 768), 5), ((2, 2000), 300), ((1, 257), 257), ((0, 5), 2)]


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int8", "uint8"])
def test_in_order_and_of_equals_the_first(dtype: str, largest: bool) -> None:
    kernel = select_best(dtype, largest).with_attr("global_symbol", "main")
    main = tvm.compile(tvm.IRModule({"main": kernel}), target=TARGET)["main"]
    rng = np.random.default_rng(0)
    for shape, k in [*SHAPES, *LARGE]:
        for most in (1, 5, 100):
            x = rng.integers(0, most, shape).astype(dtype)
            found = tvm.runtime.tensor(np.full((shape[0], k), -1))
            main(tvm.runtime.tensor(x), found)
            key = -x.astype(np.float64) if largest else x.astype(np.float64)
            expected = np.argsort(key, axis=1, kind="stable")[:, :k]
            np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_rows_at_the_edges_of_blocks(dtype: str, largest: bool) -> None:
    kernel = select_best(dtype, largest).with_attr("global_symbol", "main")
    main = tvm.compile(tvm.IRModule({"main": kernel}), target=TARGET)["main"]
    rng = np.random.default_rng(0)
    for n, k in [(0, 0), (1, 1), (16, 0), (16, 1), (17, 1), (18, 1), (33, 17), (50, 3), (797, 13)]:
        for most in (1, 5, 100):
            x = rng.integers(0, most, (3, n)).astype(dtype)
            found = tvm.runtime.tensor(np.full((3, k), -1))
            main(tvm.runtime.tensor(x), found)
            key = -x.astype(np.float64) if largest else x.astype(np.float64)
            expected = np.argsort(key, axis=1, kind="stable")[:, :k]
            np.testing.assert_array_equal(found.numpy(), expected)


def test_no_row_asks_for_memory() -> None:
    kernel = select_best("float32", True).with_attr("global_symbol", "main")
    code = tvm.compile(tvm.IRModule({"main": kernel}), target=TARGET).mod.inspect_source("ll")
    assert "AllocWorkspace" not in code


@pytest.mark.parametrize("descending", [True, False])
def test_of_what_is_sorted_already(descending: bool) -> None:
    kernel = select_best("float32", True).with_attr("global_symbol", "main")
    main = tvm.compile(tvm.IRModule({"main": kernel}), target=TARGET)["main"]
    x = np.arange(1000, dtype=np.float32).reshape(1, -1)
    x = np.ascontiguousarray(x[:, ::-1]) if descending else x
    found = tvm.runtime.tensor(np.zeros((1, 17), np.int64))
    main(tvm.runtime.tensor(x), found)
    expected = np.arange(17) if descending else 999 - np.arange(17)
    np.testing.assert_array_equal(found.numpy()[0], expected)


def test_numbers_that_are_none_and_infinities_leave_the_rest_in_order() -> None:
    kernel = select_best("float32", True).with_attr("global_symbol", "main")
    main = tvm.compile(tvm.IRModule({"main": kernel}), target=TARGET)["main"]
    x = np.array([1, -np.inf, 3, np.inf, 2], np.float32).reshape(1, -1)
    found = tvm.runtime.tensor(np.zeros((1, 5), np.int64))
    main(tvm.runtime.tensor(x), found)
    np.testing.assert_array_equal(found.numpy()[0], [3, 2, 4, 0, 1])
    x[:] = np.nan
    main(tvm.runtime.tensor(x), found)
    assert set(found.numpy()[0]) == set(range(5))
