"""Operators that move, gather and scatter the entries of small tensors, beside NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax import op as R

from tests.op_classes.harness import j, k, m, n, w
from tests.op_classes.value_cases import FLOAT, GRID, INT, SHAPE, numbers

_CPU = tvm.cpu()
_PAIR = ([n, 4, 7], [3, m, 2])


def _const(array: Any, dtype: str = INT) -> Any:
    return relax.const(np.asarray(array, dtype), dtype)


def _put(array: np.ndarray, places: list[tuple[int, ...]], values: Any) -> np.ndarray:
    result = array.copy()
    for at, value in zip(places, values, strict=True):
        result[at] = value
    return result


MOVEMENT = [
    numbers("identity", lambda x: R.hint_on_device(x, _CPU), lambda a: a),
    numbers(
        "concat", lambda *x: R.concat([*x], 1), lambda *a: np.concatenate(a, 1), GRID, [[k], [j]]
    ),
    numbers("stack", lambda *x: R.stack([*x], 1), lambda *a: np.stack(a, 1), *_PAIR),
    numbers("split", lambda x: R.split(x, 3, 1), lambda a: tuple(np.split(a, 3, 1))),
    numbers(
        "split at", lambda x: R.split(x, [1, 2], 0), lambda a: tuple(np.split(a, [1, 2])), SHAPE
    ),
    numbers(
        "split uneven",
        lambda x: R.split(x, 3, 0),
        lambda a: (a[:3], a[3:6], a[6:]),
        [*SHAPE, k, j, w],
    ),
    numbers("slice", lambda x: R.strided_slice(x, [0], [1], [3]), lambda a: a[1:3], SHAPE),
    numbers(
        "slice back", lambda x: R.strided_slice(x, [0], [-1], [-9], [-2]), lambda a: a[::-2], SHAPE
    ),
    numbers("slice beyond", lambda x: R.strided_slice(x, [0], [-3], [99]), lambda a: a[-3:], SHAPE),
    numbers(
        "dynamic slice",
        lambda x: R.dynamic_strided_slice(x, _const([0, 2]), _const([2, -9]), _const([1, -1])),
        lambda a: a[0:2, 2::-1],
    ),
    numbers("flip", lambda x: R.flip(x, 1), lambda a: np.flip(a, 1)),
    numbers("transpose", lambda x: R.permute_dims(x, [1, 0]), np.transpose),
    numbers("tile", lambda x: R.tile(x, [2, 1, 2]), lambda a: np.tile(a, [2, 1, 2])),
    numbers("repeat", lambda x: R.repeat(x, 2, 1), lambda a: np.repeat(a, 2, 1)),
    numbers("repeat all", lambda x: R.repeat(x, 2), lambda a: np.repeat(a, 2), SHAPE),
    numbers("reshape", lambda x: R.reshape(x, (3, 2)), lambda a: a.reshape(3, 2)),
    numbers("flatten", R.flatten, np.ravel),
    numbers("expand_dims", lambda x: R.expand_dims(x, [0]), lambda a: a[None]),
    numbers("squeeze", lambda x: R.squeeze(x, [1]), lambda a: a[:, 0], [[n], [m]]),
    numbers(
        "broadcast_to",
        lambda x: R.broadcast_to(x, (2, 4)),
        lambda a: np.broadcast_to(a, (2, 4)),
        SHAPE,
    ),
    numbers(
        "pad",
        lambda x: R.nn.pad(x, [1, 2], pad_value=7),
        lambda a: np.pad(a, (1, 2), constant_values=7),
        SHAPE,
    ),
    numbers(
        "pad reflect",
        lambda x: R.nn.pad(x, [1, 2], "reflect"),
        lambda a: np.pad(a, (1, 2), "reflect"),
        SHAPE,
    ),
    numbers("tril", lambda x: R.tril(x, 1), lambda a: np.tril(a, 1)),
    numbers("triu", lambda x: R.triu(x, -1), lambda a: np.triu(a, -1)),
    numbers(
        "meshgrid",
        lambda *x: R.meshgrid([*x], "ij"),
        lambda *a: tuple(np.meshgrid(*a, indexing="ij")),
        [n, m],
        [k, 3, 4],
    ),
    numbers(
        "dropout",
        lambda x: R.nn.dropout(x, 0.5),
        lambda a: (a, np.ones_like(a)),
        [n, 3],
        unknown=2,
        dtypes=(FLOAT,),
    ),
]

INDEX = [
    numbers("take", lambda x: R.take(x, _const([0, 2]), 1), lambda a: a[:, [0, 2]]),
    numbers("take one", lambda x: R.take(x, _const(2), 0), lambda a: a[2], SHAPE),
    numbers("take flat", lambda x: R.take(x, _const([[1], [3]])), lambda a: a[[[1], [3]]], SHAPE),
    numbers(
        "take wrap", lambda x: R.take(x, _const([-1, 5]), 0, "wrap"), lambda a: a[[3, 1]], SHAPE
    ),
    numbers(
        "take clip", lambda x: R.take(x, _const([-1, 9]), 0, "clip"), lambda a: a[[0, 3]], SHAPE
    ),
    numbers(
        "gather_elements",
        lambda x: R.gather_elements(x, _const([[2, 0], [1, 1]]), 1),
        lambda a: np.take_along_axis(a, np.array([[2, 0], [1, 1]]), 1),
    ),
    numbers(
        "gather_nd", lambda x: R.gather_nd(x, _const([[1, 2], [0, 0]])), lambda a: a[[1, 0], [2, 0]]
    ),
    numbers("gather_nd rows", lambda x: R.gather_nd(x, _const([[1], [0]])), lambda a: a[[1, 0]]),
    numbers(
        "gather_nd batch",
        lambda x: R.gather_nd(x, _const([[1], [0]]), 1),
        lambda a: a[[0, 1], [1, 0]],
    ),
    numbers(
        "index_tensor",
        lambda x: R.index_tensor(x, [_const([1, 0]), _const([2, 1])]),
        lambda a: a[[1, 0], [2, 1]],
    ),
    numbers(
        "scatter_elements",
        lambda x, u: R.scatter_elements(x, _const([[2], [0]]), u, 1),
        lambda a, u: _put(a, [(0, 2), (1, 0)], u.ravel()),
        GRID,
        [[k], [9]],
    ),
    numbers(
        "scatter_elements add",
        lambda x, u: R.scatter_elements(x, _const([[2], [0]]), u, 1, "add"),
        lambda a, u: _put(a, [(0, 2), (1, 0)], [a[0, 2] + u[0, 0], a[1, 0] + u[1, 0]]),
        GRID,
        [[k], [9]],
    ),
    numbers(
        "scatter_nd",
        lambda x, u: R.scatter_nd(x, _const([[1]]), u),
        lambda a, u: np.stack([a[0], u[0]]),
        GRID,
        [[k, 1, 2]],
    ),
    numbers(
        "scatter_nd max",
        lambda x, u: R.scatter_nd(x, _const([[2]]), u, "max"),
        lambda a, u: _put(a, [(2,)], [max(a[2], u[0])]),
        SHAPE,
        [k],
    ),
    numbers(
        "slice_scatter",
        lambda x, u: R.slice_scatter(x, u, 1, 4, 2, 0),
        lambda a, u: _put(a, [(1,), (3,)], u),
        SHAPE,
        [k, j],
    ),
    numbers(
        "one_hot",
        lambda x: R.one_hot(x, relax.prim_value(5), relax.prim_value(2), 4, -1),
        lambda a: np.where(a[..., None] == np.arange(4), 5, 2),
        [1, 3, 9],
    ),
    numbers(
        "one_hot front",
        lambda x: R.one_hot(x, relax.prim_value(5), relax.prim_value(2), 4, 0),
        lambda a: np.where(a[None] == np.arange(4)[:, None], 5, 2),
        [1, 3, 9],
    ),
]

CASES = [*MOVEMENT, *INDEX]
