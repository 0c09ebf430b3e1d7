"""Values that make no sense are refused by the node they come to, or at least end nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sequence_graphs import compiled, model

Call = Callable[..., list[Any]]

GOOD: dict[str, np.ndarray] = {
    "x": np.arange(7, dtype="float32"),
    "s": np.array([2, 3]),
    "t": np.array([2]),
    "d": np.array(2),
    "f": np.array(0.5, "float32"),
    "p": np.array([2]),
    "k": np.array([3]),
    "w": np.array([2, -1, 3]),
}


@pytest.fixture(scope="module")
def call() -> Call:
    body = """
        one = Constant <value_floats = [1.0]> ()
        stretched = Expand (one, s)
        tiled = Tile (x, t)
        zero = Constant <value_int = 0> ()
        five = Constant <value_int = 5> ()
        counted = Range (zero, five, d)
        none = Constant <value_float = 0.0> ()
        most = Constant <value_float = 2.0> ()
        measured = Range (none, most, f)
        first = Constant <value_ints = [0]> ()
        last = Constant <value_ints = [6]> ()
        sliced = Slice (x, first, last, first, p)
        best, at = TopK (x, k)
        sizes = Constant <value_ints = [3, 4]> ()
        left, right = Split (x, sizes)
        numbers = Constant <value_ints = [7, -9223372036854775808, -7]> ()
        divided = Div (numbers, w)
        rest = Mod (numbers, w)
    """
    names = ["stretched", "tiled", "counted", "measured", "sliced"]
    names += ["best", "left", "right", "divided", "rest"]
    kinds = {"stretched": "float[a,b]", "counted": "int64[c]", "divided": "int64[3]"}
    kinds["rest"] = kinds["divided"]
    results = ", ".join(f"{kinds.get(name, f'float[{name}_n]')} {name}" for name in names)
    inputs = (
        "float[n] x, int64[2] s, int64[1] t, int64 d, float f, int64[1] p, int64[1] k, int64[3] w"
    )
    return compiled(model(f"({inputs}) => ({results})", body))


def test_what_makes_sense_is_computed(call: Call) -> None:
    x = GOOD["x"]
    expected = [
        np.ones((2, 3)),
        np.tile(x, 2),
        [0, 2, 4],
        [0, 0.5, 1, 1.5],
        x[:6:2],
        x[:3:-1],
        x[:3],
        x[3:],
        [3, -(2**63), -2],
        [1, 0, 2],
    ]
    for found, wanted in zip(call(*GOOD.values()), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"s": np.array([2, -3])}, r"stretched \(Expand\): its result has shape \[stretched_s0"),
        ({"s": np.array([1 << 32, 1 << 32])}, r"stretched \(Expand\): .* fewer entries"),
        ({"t": np.array([-1])}, r"tiled \(Tile\): its result has shape"),
        ({"t": np.array([1 << 61])}, r"tiled \(Tile\): its result has shape"),
        ({"d": np.array(0)}, r"counted \(Range\): its result has shape"),
        ({"f": np.array(0, "float32")}, r"measured \(Range\): its result has shape"),
        ({"f": np.array(np.nan, "float32")}, r"measured \(Range\): its result has shape"),
        ({"p": np.array([0])}, r"sliced \(Slice\): its result has shape"),
        ({"k": np.array([8])}, r"best \(TopK\): k is best_k_s0, expected at most n"),
        ({"k": np.array([-1])}, r"best \(TopK\): its result has shape"),
        ({"x": np.zeros(6, "float32")}, r"left \(Split\): dim 0 of x is n, expected 7"),
    ],
)
def test_what_makes_none_is_refused_by_the_node(
    call: Call, wrong: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(*(GOOD | wrong).values())


def test_a_whole_number_divided_by_0_ends_nothing(call: Call) -> None:
    """ONNX does not say what it is."""
    *_, divided, rest = call(*(GOOD | {"w": np.array([0, 3, 0])}).values())
    assert divided[1] == -((2**63) // 3) and rest[1] == 1
