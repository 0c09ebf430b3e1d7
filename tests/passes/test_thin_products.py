"""One row or one column times a transposed matrix: the transpose goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op as R

import tvm_sod2
from tests.passes.rewriting import rng
from tests.passes.test_fuse_attention import Input, network, operators
from tvm_sod2.passes.thin_products import thin_products

Dims = tuple[Any, ...]


def product(turned: int) -> Callable[..., Any]:
    def build(emit: Any, *given: Any) -> Any:
        pair = list(given)
        rank = pair[turned].ty.ndim
        axes = [*range(rank - 2), rank - 1, rank - 2]
        pair[turned] = emit(R.permute_dims(pair[turned], axes))
        return emit(R.matmul(*pair))

    return build


# The operand that is transposed, and the dims of both as they are given.
THIN: dict[str, tuple[int, Dims, Dims]] = {
    "a row": (1, (1, "s"), ("t", "s")),
    "a column": (0, ("s", "t"), ("s", 1)),
    "rows of batches": (1, ("b", 1, "s"), ("b", "t", "s")),
    "one matrix for all rows": (1, ("b", 3, 1, 40), ("t", 40)),
    "columns of batches": (0, ("b", "s", 5), ("b", "s", 1)),
}


@pytest.mark.parametrize("name", THIN)
def test_the_transpose_goes(name: str) -> None:
    turned, a, b = THIN[name]
    mod = network(product(turned), {"a": Input(a), "b": Input(b)})
    thin = thin_products(mod)
    relax.analysis.well_formed(thin)
    assert operators(thin) == ["relax.reshape", "relax.matmul", "relax.reshape"]
    run = relax.VirtualMachine(tvm_sod2.build(mod), tvm.cpu())["main"]
    for sizes in ({"b": 2, "s": 7, "t": 5}, {"b": 1, "s": 130, "t": 33}, {"b": 3, "s": 0, "t": 1}):
        arrays = [
            rng.normal(size=[sizes.get(dim, dim) for dim in dims]).astype("float32")
            for dims in (a, b)
        ]
        pair = [x.swapaxes(-1, -2) if i == turned else x for i, x in enumerate(arrays)]
        expected = pair[0].astype("float64") @ pair[1]
        found = run(*map(tvm.runtime.tensor, arrays)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


STAYS: dict[str, tuple[int, Input, Input]] = {
    "several rows": (1, Input((2, "s")), Input(("t", "s"))),
    "any rows": (1, Input(("b", "s")), Input(("t", "s"))),
    "the row itself is transposed": (0, Input(("s", 1)), Input(("s", "t"))),
    "half precision": (1, Input((1, "s"), "float16"), Input(("t", "s"), "float16")),
}


@pytest.mark.parametrize("name", STAYS)
def test_what_stays(name: str) -> None:
    turned, a, b = STAYS[name]
    mod = network(product(turned), {"a": a, "b": b})
    assert operators(thin_products(mod)) == ["relax.permute_dims", "relax.matmul"]
