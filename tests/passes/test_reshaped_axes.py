"""Orders of axes before a reshape, against NumPy."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from tvm import tirx

from tvm_sod2.passes.reshaped_axes import order_before

n, m = (tirx.Var(name, "int64") for name in "nm")
SIZES = {n: 3, m: 5}

RESHAPES = [
    ([n, 6, m], [n, 2, 3, m]),
    ([n, 2, 3, m], [n, 6, m]),
    ([n, 1, m], [1, n, m, 1]),
    ([n, 4, m], [n, 4, m]),
    ([n, m, 2], [n * m, 2]),
    ([n * m, 2], [n, m, 2]),
    ([2, 3, 4], [6, 2, 2]),
]


@pytest.mark.parametrize(("before", "after"), RESHAPES)
def test_reshaping_and_permuting_may_change_places(before: list, after: list) -> None:
    old, new = (
        [d if isinstance(d, int) else SIZES.get(d, 15) for d in dims] for dims in (before, after)
    )
    x = np.arange(np.prod(old)).reshape(old)
    found = 0
    for order in permutations(range(len(new))):
        earlier = order_before(before, after, list(order))
        if earlier is None:
            continue
        found += 1
        expected = x.reshape(new).transpose(order)
        np.testing.assert_array_equal(x.transpose(earlier).reshape(expected.shape), expected)
    assert found > 1


def test_what_nothing_proves_is_refused() -> None:
    assert order_before([n, m], [m, n], [1, 0]) is None
    assert order_before([6, 4], [4, 6], [1, 0]) is None
