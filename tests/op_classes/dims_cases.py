"""Operators of which Relax infers no dims, or not all, each with the shape that NumPy gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax import op as R

from tests.op_classes.harness import Env, h, j, k, m, n, shape_at, tensor, w

_SHAPE_OF_THREE = relax.Var("s", relax.ShapeType(ndim=3))
_SHAPE_OF_TWO = relax.Var("s", relax.ShapeType(ndim=2))


def _indices(*dims: Any) -> relax.Var:
    return tensor(*dims, dtype="int64", name="i")


def _empty(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Arrays of these shapes that take no memory."""
    return [np.broadcast_to(np.int8(0), shape) for shape in shapes]


def _shape(function: Callable[..., Any], *shapes: tuple[Any, ...]) -> Callable[[Env], Any]:
    """The shape that a NumPy function returns for operands of these symbolic shapes."""
    return lambda env: function(*_empty(*(shape_at(s, env) for s in shapes))).shape


@dataclass(frozen=True)
class Case:
    """call: what Relax gives no dims. shape: what NumPy gives it at an env. equal: what the
    operator forces symbols to be, a number or another symbol. known: entries of variables."""

    name: str
    call: Callable[[], Any]
    shape: Callable[[Env], Any]
    equal: dict[str, int | str] = field(default_factory=dict)
    known: dict[relax.Var, list[Any]] = field(default_factory=dict)


CASES = [
    Case(
        "broadcast",
        lambda: R.add(tensor(n, 8), tensor(n, k)),
        _shape(np.add, (n, 8), (n, 8)),
        equal={"k": 8},
    ),
    Case(
        "broadcast of two names",
        lambda: R.multiply(tensor(n, 1, m), tensor(k, j)),
        _shape(np.add, (n, 1, m), (k, m)),
        equal={"j": "m"},
    ),
    Case(
        "where",
        lambda: R.where(tensor(n, 1, dtype="bool"), tensor(k, m), tensor(m)),
        _shape(np.where, (n, 1), (n, m), (m,)),
        equal={"k": "n"},
    ),
    Case(
        "concat",
        lambda: R.concat([tensor(n, m), tensor(k, j), tensor(3, 4)], 0),
        _shape(lambda *a: np.concatenate(a), (n, 4), (k, 4), (3, 4)),
        equal={"m": 4, "j": 4},
    ),
    Case(
        "stack",
        lambda: R.stack([tensor(n, m), tensor(k, 4)], 1),
        _shape(lambda *a: np.stack(a, 1), (n, 4), (n, 4)),
        equal={"k": "n", "m": 4},
    ),
    Case(
        "matmul batch",
        lambda: R.matmul(tensor(n, 1, 4, 3), tensor(k, m, 3, 5)),
        _shape(np.matmul, (n, 1, 4, 3), (n, m, 3, 5)),
        equal={"k": "n"},
    ),
    Case(
        "matmul by a vector",
        lambda: R.matmul(tensor(n, k, m), tensor(m)),
        _shape(np.matmul, (n, k, m), (m,)),
    ),
    Case(
        "index_tensor",
        lambda: R.index_tensor(tensor(n, m, 7), [_indices(k, 1), _indices(j)]),
        lambda env: (env["k"], env["j"], 7),
    ),
    Case(
        "index_tensor of two names",
        lambda: R.index_tensor(tensor(n, m, h), [_indices(k), _indices(j)]),
        lambda env: (env["k"], env["h"]),
        equal={"j": "k"},
    ),
    Case(
        "layer_norm",
        lambda: R.nn.layer_norm(tensor(n, m), tensor(k), tensor(k), axes=[-1]),
        _shape(lambda a: a, (n, m)),
        equal={"k": "m"},
    ),
    Case(
        "rms_norm",
        lambda: R.nn.rms_norm(tensor(n, m), tensor(k), axes=[-1]),
        _shape(lambda a: a, (n, m)),
        equal={"k": "m"},
    ),
    Case(
        "batch_norm",
        lambda: R.nn.batch_norm(tensor(n, m, h), *[tensor(3)] * 4, axis=1),
        lambda env: ((env["n"], env["m"], env["h"]), (3,), (3,)),
        equal={"m": 3},
    ),
    Case(
        "dynamic_strided_slice",
        lambda: R.dynamic_strided_slice(
            tensor(n, m), *[relax.const(v, "int64") for v in ([1, -1], [-1, -99], [2, -3])]
        ),
        _shape(lambda a: a[1:-1:2, -1:-99:-3], (n, m)),
    ),
    Case(
        "squeeze",
        lambda: R.squeeze(tensor(3, 1, 1, 8, 1)),
        lambda env: (3, 8),
    ),
    Case(
        "nonzero of constants",
        lambda: R.nonzero(relax.const([[1, 0], [2, 3]], "int64")),
        lambda env: (2, 3),
    ),
    Case(
        "nonzero",
        lambda: R.nonzero(tensor(n, m, k)),
        lambda env: (3, None),
    ),
    Case(
        "unique along an axis",
        lambda: R.unique(tensor(n, m), return_inverse=True, axis=0),
        lambda env: ((None, env["m"]), (env["n"],)),
    ),
    Case(
        "unique",
        lambda: R.unique(tensor(n, m), return_inverse=True, return_counts=True),
        lambda env: ((None,), (env["n"] * env["m"],), (None,)),
    ),
    Case(
        "reshape to a tracked shape",
        lambda: R.reshape(tensor(n, m), _SHAPE_OF_THREE),
        lambda env: (env["m"], 1, env["n"]),
        known={_SHAPE_OF_THREE: [m, 1, n]},
    ),
    Case(
        "broadcast_to a shape known in part",
        lambda: R.broadcast_to(tensor(m), _SHAPE_OF_TWO),
        lambda env: (None, env["m"]),
        known={_SHAPE_OF_TWO: [None, m]},
    ),
    Case(
        "full of a shape of known rank",
        lambda: R.full(_SHAPE_OF_TWO, relax.const(1.0)),
        lambda env: (None, None),
    ),
    Case(
        "zeros",
        lambda: R.zeros(_SHAPE_OF_TWO, "float32"),
        lambda env: (env["n"], 2 * env["m"]),
        known={_SHAPE_OF_TWO: [n, m * 2]},
    ),
    Case(
        "ones",
        lambda: R.ones(_SHAPE_OF_TWO, "float32"),
        lambda env: (env["n"], 3),
        known={_SHAPE_OF_TWO: [n, 3]},
    ),
    Case(
        "resize2d",
        lambda: R.image.resize2d(tensor(n, h, w, 3), _SHAPE_OF_TWO, layout="NHWC"),
        lambda env: (env["n"], 2 * env["h"], None, 3),
        known={_SHAPE_OF_TWO: [h * 2, None]},
    ),
    Case(
        "resize3d",
        lambda: R.image.resize3d(tensor(n, 3, k, h, w), _SHAPE_OF_THREE),
        lambda env: (env["n"], 3, env["k"], 2 * env["h"], 7),
        known={_SHAPE_OF_THREE: [k, h * 2, 7]},
    ),
    Case(
        "affine_grid",
        lambda: R.image.affine_grid(tensor(n, 2, 3), _SHAPE_OF_TWO),
        lambda env: (env["n"], 2, env["h"], 9),
        known={_SHAPE_OF_TWO: [h, 9]},
    ),
    Case(
        "collapse_sum_to",
        lambda: R.collapse_sum_to(tensor(n, m), _SHAPE_OF_TWO),
        lambda env: (1, env["m"]),
        known={_SHAPE_OF_TWO: [1, m]},
    ),
]
