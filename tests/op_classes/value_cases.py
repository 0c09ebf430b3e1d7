"""Operators that compute the entries of small tensors, each with its counterpart in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm.relax import op as R

from tests.op_classes.harness import h, k, m, n
from tvm_sod2.op_classes.rational import Rational

INT, FLOAT, BOOL = "int64", "float32", "bool"


@dataclass(frozen=True)
class Case:
    """call: the operator on variables. numpy: the same on arrays. inputs: entries per variable.

    dtypes: of the variables. low: the least dim at which the operator is defined.
    unknown: how many entries of the result may be unknown.
    """

    name: str
    call: Callable[..., Any]
    numpy: Callable[..., Any]
    inputs: tuple[Any, ...]
    dtypes: tuple[str, ...] = (INT,)
    low: int = 0
    unknown: int = 0

    @property
    def arrays(self) -> list[np.ndarray]:
        """The inputs as object arrays."""
        return [_objects(given) for given in self.inputs]

    def dtype(self, position: int) -> str:
        return self.dtypes[min(position, len(self.dtypes) - 1)]


def _objects(given: Any) -> np.ndarray:
    """Nested lists of entries as an object array, expressions being entries."""
    if not isinstance(given, list):
        array = np.empty((), dtype=object)
        array[()] = given
        return array
    parts = [_objects(part) for part in given]
    if not parts:
        return np.empty(0, dtype=object)
    return np.stack(parts)


def _float(array: np.ndarray) -> np.ndarray:
    return array.astype("float32")


SHAPE = [n, m, 8, 3]
GRID = [[n, 2, 3], [m, 5, h]]
_INTS = [[4, 1, 3], [2, 9, 7]]
_PAIR = ([n, 4, 7], [3, m, 2])
_NONZERO = ([n, 40, 7], [3, 5, 2])


def numbers(name: str, call: Any, numpy: Any, *inputs: Any, **options: Any) -> Case:
    """A case, of a small matrix where nothing else is given."""
    return Case(name, call, numpy, inputs or (GRID,), **options)


def _modulo(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.fmod(a, b)


ELEMENTWISE = [
    numbers("add", R.add, np.add, *_PAIR),
    numbers("add broadcast", R.add, np.add, GRID, [1, m, 3]),
    numbers("subtract", R.subtract, np.subtract, *_PAIR),
    numbers("multiply", R.multiply, np.multiply, *_PAIR),
    numbers("divide ints", R.divide, lambda a, b: (a / b).astype(int), *_NONZERO),
    numbers(
        "divide negative",
        R.divide,
        lambda a, b: np.trunc(a / b).astype(int),
        [-7, 7, -8],
        [2, -2, 3],
    ),
    numbers("floor_divide", R.floor_divide, np.floor_divide, *_NONZERO),
    numbers("floor_mod", R.floor_mod, np.mod, *_NONZERO),
    numbers("floor_mod negative", R.floor_mod, np.mod, [-7, 7], [3, 3]),
    numbers("mod", R.mod, _modulo, *_NONZERO),
    numbers("mod negative", R.mod, _modulo, [-7, 7], [3, 3]),
    numbers("power", R.power, np.power, [n, 2, m], [2, 5, 0]),
    numbers("maximum", R.maximum, np.maximum, *_PAIR),
    numbers("minimum", R.minimum, np.minimum, *_PAIR),
    numbers("abs", R.abs, np.abs, [n, -3, 4]),
    numbers("negative", R.negative, np.negative, [n, -3, 4]),
    numbers("sign", R.sign, np.sign, [n, -3, 0]),
    numbers("square", R.square, np.square, [n, -3, 4]),
    numbers("relu", R.nn.relu, lambda a: np.maximum(a, 0), [n, -3, 4]),
    numbers("sqrt", R.sqrt, np.sqrt, [9, 16, 0], dtypes=(FLOAT,)),
    numbers("equal", R.equal, np.equal, *_PAIR),
    numbers("not_equal", R.not_equal, np.not_equal, *_PAIR),
    numbers("less", R.less, np.less, *_PAIR),
    numbers("less_equal", R.less_equal, np.less_equal, *_PAIR),
    numbers("greater", R.greater, np.greater, *_PAIR),
    numbers("greater_equal", R.greater_equal, np.greater_equal, *_PAIR),
    numbers("equal of truths", R.equal, np.equal, [1, 0, 1], [0, 0, 1], dtypes=(BOOL,)),
    numbers("not_equal of truths", R.not_equal, np.not_equal, [1, 0], [0, 0], dtypes=(BOOL,)),
    numbers("logical_and", R.logical_and, np.logical_and, [1, 0, 1], [0, 0, 1], dtypes=(BOOL,)),
    numbers("logical_or", R.logical_or, np.logical_or, [1, 0, 1], [0, 0, 1], dtypes=(BOOL,)),
    numbers("logical_xor", R.logical_xor, np.logical_xor, [1, 0, 1], [0, 0, 1], dtypes=(BOOL,)),
    numbers("logical_not", R.logical_not, np.logical_not, [1, 0], dtypes=(BOOL,)),
    numbers("bitwise_and", R.bitwise_and, np.bitwise_and, [12, 7], [10, -2]),
    numbers("bitwise_or", R.bitwise_or, np.bitwise_or, [12, 7], [10, -2]),
    numbers("bitwise_xor", R.bitwise_xor, np.bitwise_xor, [12, 7], [10, -2]),
    numbers("bitwise_not", R.bitwise_not, np.bitwise_not, [12, -7]),
    numbers("left_shift", R.left_shift, np.left_shift, [n, 3], [2, 4]),
    numbers("right_shift", R.right_shift, np.right_shift, [n, 300], [2, 4]),
    numbers("where", R.where, np.where, [1, 0, 1], [n, 4, 7], [3, m, 2], dtypes=(BOOL, INT)),
    numbers("fma", R.ewise_fma, lambda a, b, c: a * b + c, [n, 2], [3, m], [1, k]),
    numbers("isfinite", R.isfinite, np.isfinite, [n, 3], dtypes=(FLOAT,)),
    numbers("isnan", R.isnan, np.isnan, [n, 3], dtypes=(FLOAT,)),
    numbers("isinf", R.isinf, np.isinf, [n, 3], dtypes=(FLOAT,)),
    numbers("clip", lambda x: R.clip(x, 2, 5), lambda a: np.clip(a, 2, 5), [n, 3, -7]),
    numbers("to float", lambda x: R.astype(x, FLOAT), _float, [n, 3]),
    numbers("to bool", lambda x: R.astype(x, BOOL), lambda a: a.astype(bool), [0, 3, n]),
    numbers("to int8", lambda x: R.astype(x, "int8"), lambda a: a.astype("int8"), [300, -129]),
]

_HALF, _THREE_HALVES = Rational(1, 2), Rational(3, 2)
_F = {"dtypes": (FLOAT,)}

FRACTIONS = [
    numbers("floor of a half", R.floor, np.floor, [Rational(n, 2), Rational(m * 3, 4), 5], **_F),
    numbers("ceil of a half", R.ceil, np.ceil, [Rational(n, 2), Rational(m * 3, 4), 5], **_F),
    numbers("trunc of a half", R.trunc, np.trunc, [Rational(n, 2), Rational(-3, 2)], **_F),
    numbers("round", R.round, np.round, [n, Rational(9, 4), Rational(-13, 8)], **_F),
    numbers(
        "times a half", R.multiply, np.multiply, [n, m, 6], [_HALF, _THREE_HALVES, _HALF], **_F
    ),
    numbers("plus a half", R.add, np.add, [n, Rational(m, 4)], [_HALF, _THREE_HALVES], **_F),
    numbers("minus a half", R.subtract, np.subtract, [n, Rational(m, 4)], [_HALF, 3], **_F),
    numbers("divided by 4", R.divide, np.divide, [n, Rational(m, 2), 6], [4, 2, 4], **_F),
    numbers("divided by 1.5", R.divide, np.divide, [6, 9], [_THREE_HALVES, _THREE_HALVES], **_F),
    numbers(
        "larger half", R.maximum, np.maximum, [Rational(n, 2), 2], [_THREE_HALVES, _HALF], **_F
    ),
    numbers(
        "smaller half", R.minimum, np.minimum, [Rational(n, 2), 2], [_THREE_HALVES, _HALF], **_F
    ),
    numbers("half below", R.less, np.less, [Rational(n, 2), 2], [_THREE_HALVES, _HALF], **_F),
    numbers(
        "half to int", lambda x: R.astype(x, INT), lambda a: a.astype(INT), [Rational(n, 2)], **_F
    ),
    numbers("mean", lambda x: R.mean(x, [1]), lambda a: a.mean(1), [[n, 2], [m, k]], **_F),
]

FOLD = [
    numbers("sum", lambda x: R.sum(x, [1]), lambda a: a.sum(1)),
    numbers("sum of all", R.sum, np.sum),
    numbers("sum of none", lambda x: R.sum(x, [0]), lambda a: a.sum(0), []),
    numbers("prod", lambda x: R.prod(x, [0], True), lambda a: a.prod(0, keepdims=True)),
    numbers("max", lambda x: R.max(x, [1]), lambda a: a.max(1)),
    numbers("min", lambda x: R.min(x, [0, 1]), np.min),
    numbers("cumsum", lambda x: R.cumsum(x, 1), lambda a: a.cumsum(1)),
    numbers(
        "cumsum exclusive",
        lambda x: R.cumsum(x, 0, None, True),
        lambda a: np.append(0, a.cumsum()[:-1]),
        SHAPE,
    ),
    numbers("cumsum flat", R.cumsum, lambda a: a.cumsum()),
    numbers("cumprod", lambda x: R.cumprod(x, 1), lambda a: a.cumprod(1)),
    numbers("argmax", lambda x: R.argmax(x, 1), lambda a: a.argmax(1), _INTS),
    numbers("argmin", lambda x: R.argmin(x, 0, True), lambda a: a.argmin(0, keepdims=True), _INTS),
    numbers("sort", lambda x: R.sort(x, 1), lambda a: np.sort(a, 1), _INTS),
    numbers("sort down", lambda x: R.sort(x, 1, True), lambda a: -np.sort(-a, 1), _INTS),
    numbers("argsort", lambda x: R.argsort(x, 1, False, INT), lambda a: np.argsort(a, 1), _INTS),
    numbers(
        "topk",
        lambda x: R.topk(x, 2, 1),
        lambda a: (-np.sort(-a, 1)[:, :2], np.argsort(-a, 1)[:, :2]),
        _INTS,
    ),
    numbers(
        "topk smallest",
        lambda x: R.topk(x, 2, 1, "values", False),
        lambda a: np.sort(a, 1)[:, :2],
        _INTS,
    ),
    numbers(
        "topk places", lambda x: R.topk(x, 1, 0, "indices"), lambda a: np.argsort(-a, 0)[:1], _INTS
    ),
    numbers("nonzero", R.nonzero, lambda a: np.stack(np.nonzero(a)), [[1, 0, 2], [0, 0, 5]]),
]

CREATE = [
    numbers("full", lambda v: R.full((2, 3), v, INT), lambda v: np.full((2, 3), v), n),
    numbers("full_like", lambda x, v: R.full_like(x, v), np.full_like, [1, 2], n),
    numbers("zeros_like", R.zeros_like, np.zeros_like),
    numbers("ones_like", R.ones_like, np.ones_like),
    numbers("eye_like", lambda x: R.eye_like(x, 1), lambda a: np.eye(2, 3, 1)),
    numbers("size", R.size, lambda a: np.asarray(a.size)),
]

CASES = [*ELEMENTWISE, *FRACTIONS, *FOLD, *CREATE]
