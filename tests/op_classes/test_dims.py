"""Transfers of dims against NumPy's shapes, beside Relax's own inference, which gives up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op as R

from tests.op_classes.harness import (
    Env,
    arithmetic,
    dims_found,
    envs,
    evaluate,
    h,
    j,
    k,
    m,
    n,
    shape_at,
    tensor,
    text,
    typed,
    w,
)
from tvm_sod2.op_classes import ROWS, fact_of_type, row
from tvm_sod2.op_classes.fact import entries
from tvm_sod2.op_classes.lattice import lacks_dims
from tvm_sod2.op_classes.shapes.index import slice_length

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
    """call: what Relax gives no dims. shape: what NumPy gives it at an env. equal: dims that the
    operator forces to be equal, as symbols to be given one value. known: entries of variables."""

    name: str
    call: Callable[[], Any]
    shape: Callable[[Env], Any]
    equal: tuple[str, ...] = ()
    known: dict[relax.Var, list[Any]] = field(default_factory=dict)


CASES = [
    Case(
        "broadcast",
        lambda: R.add(tensor(n, 8), tensor(n, k)),
        _shape(np.add, (n, 8), (n, 8)),
    ),
    Case(
        "broadcast of two names",
        lambda: R.multiply(tensor(n, 1, m), tensor(k, j)),
        _shape(np.add, (n, 1, m), (k, m)),
        equal=("m", "j"),
    ),
    Case(
        "where",
        lambda: R.where(tensor(n, 1, dtype="bool"), tensor(k, m), tensor(m)),
        _shape(np.where, (n, 1), (n, m), (m,)),
        equal=("n", "k"),
    ),
    Case(
        "concat",
        lambda: R.concat([tensor(n, m), tensor(k, j), tensor(3, 4)], 0),
        _shape(lambda *a: np.concatenate(a), (n, 4), (k, 4), (3, 4)),
    ),
    Case(
        "stack",
        lambda: R.stack([tensor(n, m), tensor(k, 4)], 1),
        _shape(lambda *a: np.stack(a, 1), (n, 4), (n, 4)),
        equal=("n", "k"),
    ),
    Case(
        "matmul batch",
        lambda: R.matmul(tensor(n, 1, 4, 3), tensor(k, m, 3, 5)),
        _shape(np.matmul, (n, 1, 4, 3), (n, m, 3, 5)),
        equal=("n", "k"),
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
        equal=("k", "j"),
    ),
    Case(
        "layer_norm",
        lambda: R.nn.layer_norm(tensor(n, m), tensor(k), tensor(k), axes=[-1]),
        _shape(lambda a: a, (n, m)),
    ),
    Case(
        "rms_norm",
        lambda: R.nn.rms_norm(tensor(n, m), tensor(k), axes=[-1]),
        _shape(lambda a: a, (n, m)),
    ),
    Case(
        "batch_norm",
        lambda: R.nn.batch_norm(tensor(n, m, h), *[tensor(3)] * 4, axis=1),
        lambda env: ((env["n"], env["m"], env["h"]), (3,), (3,)),
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_dims_are_numpys(case: Case) -> None:
    known = {var: entries(items) for var, items in case.known.items()}
    found = dims_found(case.call(), known)
    for env in envs(6):
        env.update(dict.fromkeys(case.equal, env[case.equal[0]]) if case.equal else {})
        assert _at(found, env) == case.shape(env), env


def _at(found: Any, env: Env) -> Any:
    if isinstance(found, tuple):
        return tuple(_at(part, env) for part in found)
    return tuple(evaluate(entry, env) for entry in found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_relax_alone_finds_less(case: Case) -> None:
    if case.name in _RELAX_KNOWS:
        assert not lacks_dims(typed(case.call()).ty)
    else:
        assert lacks_dims(typed(case.call()).ty)


_RELAX_KNOWS = {"matmul by a vector", "index_tensor", "squeeze"}
"""Relax finds these as well: the transfer is complete all the same."""


def test_squeeze_of_all_ones_needs_bounds() -> None:
    call = typed(R.squeeze(tensor(n, 1, m)))
    transfer = row("relax.squeeze").dims
    assert transfer is not None
    assert call.ty.ndim == -1
    known = arithmetic()
    assert transfer(call, [fact_of_type(call.args[0].ty)], known) is None
    known.bind(n, 2, 9)
    known.bind(m, 1, 1)
    assert transfer(call, [fact_of_type(call.args[0].ty)], known) == [n]


def test_operators_that_relax_refuses_on_unproven_dims() -> None:
    fma = relax.Call(tvm.ir.Op.get("relax.ewise_fma"), [tensor(n, 8), tensor(k, m), tensor(n, m)])
    with pytest.raises(ValueError, match="same shape"):
        typed(fma)
    facts = [fact_of_type(argument.ty) for argument in fma.args]
    transfer = row("relax.ewise_fma").dims
    assert transfer is not None
    found = transfer(fma, facts, arithmetic())
    assert isinstance(found, list)
    assert [text(dim) for dim in found] == ["n", "8"]


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


def test_every_row_with_a_transfer_of_dims_has_a_case() -> None:
    covered = {typed(case.call()).op.name for case in CASES}
    same = {name for name, its in ROWS.items() if its.dims is ROWS["relax.add"].dims}
    elsewhere = {"relax.ewise_fma", "relax.quantize", "relax.dequantize"}
    giving = {name for name, its in ROWS.items() if its.dims is not None}
    assert sorted(giving - covered - same - elsewhere) == []
