"""Scatters against NumPy: fewer indices than data, repeated and negative ones, nothing at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, tirx
from tvm.relax import op as R

import tvm_sod2

COMBINE: dict[str, Any] = {
    "update": lambda old, new: new,
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
}


def built(operator: Any, ranks: tuple[int, int, int], depth: int | None = None) -> Any:
    """The operator on data, int64 indices and updates of any dims, of known depth or elements."""
    shapes = [[tirx.Var(f"d{i}_{a}", "int64") for a in range(rank)] for i, rank in enumerate(ranks)]
    if depth is None:
        shapes[2] = shapes[1]
    else:
        shapes[1][-1] = tirx.IntImm("int64", depth)
        shapes[2] = [*shapes[1][:-1], *shapes[0][depth:]]
    dtypes = ("float32", "int64", "float32")
    params = [
        relax.Var(f"x{i}", relax.TensorType(shape, dtype))
        for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True))
    ]
    bb = relax.BlockBuilder()
    with bb.function("main", params):
        with bb.dataflow():
            y = bb.emit_output(bb.normalize(operator(*params)))
        bb.emit_func_output(y)
    main = relax.VirtualMachine(tvm_sod2.build(bb.get()), tvm.cpu())["main"]
    return lambda *arrays: main(*map(tvm.runtime.tensor, arrays)).numpy()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("reduction", ["update", "add"])
def test_elements(axis: int, reduction: str) -> None:
    run = built(lambda x, i, u: R.scatter_elements(x, i, u, axis, reduction), (3, 3, 3))
    rng = np.random.default_rng(axis)
    for dims, fewer in (((4, 5, 7), (2, 3, 6)), ((3, 17, 13), (3, 17, 13)), ((2, 3, 4), (0, 3, 4))):
        x, u = rng.random(dims, np.float32), rng.random(fewer, np.float32)
        i = rng.random(dims).argsort(axis)[tuple(map(slice, fewer))] - dims[axis] * (u > 0.5)
        expected = x.copy()
        for at in np.ndindex(*fewer):
            place = (*at[:axis], i[at], *at[axis + 1 :])
            expected[place] = COMBINE[reduction](expected[place], u[at])
        np.testing.assert_allclose(run(x, i.astype(np.int64), u), expected, rtol=1e-6)


@pytest.mark.parametrize(("depth", "reduction"), [(1, "mul"), (2, "update"), (3, "max")])
def test_rows(depth: int, reduction: str) -> None:
    run = built(lambda x, i, u: R.scatter_nd(x, i, u, reduction), (3, 3, 5 - depth), depth)
    rng = np.random.default_rng(depth)
    for dims, rows in (((4, 5, 7), (2, 3)), ((13, 17, 1), (1, 1)), ((6, 5, 131), (0, 3))):
        x, u = rng.random(dims, np.float32), rng.random((*rows, *dims[depth:]), np.float32)
        places = rng.permutation(int(np.prod(dims[:depth])))[: rows[0] * rows[1]]
        places = np.resize(places, rows) if places.size else np.zeros(rows, np.int64)
        if reduction == "update" and len(set(places.flat)) < places.size:
            continue  # Which of two updates to one place stays is not said.
        i = np.stack(np.unravel_index(places, dims[:depth]), -1).astype(np.int64)
        expected = x.copy()
        for at in np.ndindex(*rows):
            place = tuple(i[at])
            expected[place] = COMBINE[reduction](expected[place], u[at])
        np.testing.assert_allclose(run(x, i, u), expected, rtol=1e-6)
