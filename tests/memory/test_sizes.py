"""Byte counts as polynomials, their comparison and their text."""

from __future__ import annotations

import math
import random

import pytest
import tvm
from tvm import tirx

from tvm_sod2.errors import InputError
from tvm_sod2.memory import arena_bytes
from tvm_sod2.memory.dominance import Dominance
from tvm_sod2.memory.heights import Heights
from tvm_sod2.memory.sizes import Poly, SizeAlgebra, add, constant, scale
from tvm_sod2.memory.text import to_python

N, M = tirx.Var("n", "int64"), tirx.Var("m", "int64")
FLOAT = tvm.DataType("float32")


def test_equal_sizes_have_equal_polynomials() -> None:
    sizes = SizeAlgebra([N, M])
    assert sizes.poly((N + 1) * 4 * M) == sizes.poly(M * N * 4 + M * 4)
    assert sizes.poly((N - 1) // 2 + 1) == sizes.poly((N + 1) // 2)
    assert sizes.poly((N * 4 + 6) // 4) == sizes.poly(N + 1)
    assert sizes.poly(N * 2) != sizes.poly(M * 2)


def test_bytes_are_rounded_up_to_cache_lines() -> None:
    sizes = SizeAlgebra([N])
    for dtype, width in (("float32", 4), ("int8", 1), ("bool", 1), ("float16", 2), ("int64", 8)):
        poly = sizes.bytes_of([N, 3], tvm.DataType(dtype))
        for n in (0, 1, 5, 21, 22, 64, 1000):
            assert sizes.evaluate(poly, {"n": n}) == -(-n * 3 * width // 64) * 64
    assert to_python(sizes.expr(sizes.bytes_of([N, 32], FLOAT))) == "n * 128"
    assert sizes.bytes_of([], FLOAT) == constant(64)


@pytest.mark.parametrize(
    ("small", "large", "proven"),
    [
        (N * 64, N * 128, True),
        (N * 128, N * 64, False),
        (((N + 1) // 2) * 64, ((N + 31) // 32) * 1024, True),
        (((N + 1) // 2) * 64, ((N + 31) // 32) * 1023, False),
        (((N + 3) // 4) * M, ((N + 1) // 2) * M, True),
        (((N + 1) // 2) * ((M + 1) // 2), ((N + 3) // 4) * ((M + 3) // 4) * 4, True),
        (N // 2, (N + 1) // 2, True),
        ((N + 1) // 2, N // 2 * 2, False),
        (N * 64 + 320, N * 128, False),
        (N * N, N * M, False),
    ],
)
def test_what_is_proven_holds(small: tvm.ir.Expr, large: tvm.ir.Expr, proven: bool) -> None:
    sizes = SizeAlgebra([N, M])
    left, right = sizes.poly(small), sizes.poly(large)
    assert Dominance(sizes).at_most(left, right) is proven


@pytest.mark.parametrize("seed", range(30))
def test_no_proof_is_wrong(seed: int) -> None:
    rng = random.Random(seed)
    sizes = SizeAlgebra([N, M])
    dims = [N, M, (N + 1) // 2, (M + 3) // 4, (N + 31) // 32, ((N + 1) // 2 + 1) // 2, N - 1]
    polys = []
    for _ in range(12):
        shapes = [[rng.choice(dims), rng.choice(dims), rng.choice([1, 2, 8, 24])] for _ in "ab"]
        polys.append(add(*(sizes.bytes_of(shape, FLOAT) for shape in shapes)))
    dominance = Dominance(sizes)
    points = [{"n": n, "m": m} for n in (1, 2, 3, 4, 31, 33, 100) for m in (1, 2, 3, 5, 97)]
    points += [{"n": 0, "m": m} for m in (0, 7)] if seed % 2 else []
    polys += [scale(poly, 2) for poly in polys]
    found = 0
    for left in polys:
        for right in polys:
            if dominance.at_most(left, right):
                found += left != right
                for point in points:
                    if all(sizes.evaluate(sizes.poly(d), point) >= 0 for d in dims):
                        assert sizes.evaluate(left, point) <= sizes.evaluate(right, point)
    assert found


def test_symbols_of_unknown_sign_prove_nothing() -> None:
    sizes = SizeAlgebra([])  # n is no tensor's extent
    assert not Dominance(sizes).at_most(sizes.poly(N), sizes.poly(N * 2))


def test_products_of_long_sums_are_not_multiplied_out() -> None:
    symbols = [tirx.Var(f"d{i}", "int64") for i in range(20)]
    sizes = SizeAlgebra(symbols)
    extents = [sum(symbols[axis * 5 + 1 : axis * 5 + 5], symbols[axis * 5]) for axis in range(4)]
    size = sizes.bytes_of(extents, FLOAT)
    assert size == sizes.bytes_of(extents, FLOAT) and len(size) == 1
    dims = {symbol.name: number + 1 for number, symbol in enumerate(symbols)}
    want = 4 * math.prod(sum(range(5 * axis + 1, 5 * axis + 6)) for axis in range(4))
    assert sizes.evaluate(size, dims) == -(-want // 64) * 64


def test_many_terms_get_a_name_and_keep_their_value() -> None:
    symbols = [tirx.Var(f"d{i}", "int64") for i in range(12)]
    sizes = SizeAlgebra(symbols)
    heights = Heights(sizes)
    terms = [frozenset([sizes.bytes_of([symbol, 16], FLOAT)]) for symbol in symbols]
    height = heights.top(heights.highest(terms), sizes.bytes_of([symbols[0]], FLOAT))
    assert len(height) == 1 and len(heights.named) == 1
    rng = random.Random(0)
    for _ in range(20):
        dims = {symbol.name: rng.randrange(100) for symbol in symbols}
        want = max(64 * value for value in dims.values()) + -(-dims["d0"] * 4 // 64) * 64
        assert heights.evaluate(height, dims) == want
        assert arena_bytes(heights.text(height), dims) == want
    closed = to_python(heights.closed(height))
    assert "height" not in closed


def test_maxima_of_maxima_cost_no_more_with_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    proofs = 0
    at_most = Dominance.at_most

    def counted(self: Dominance, left: Poly, right: Poly) -> bool:
        nonlocal proofs
        proofs += 1
        return at_most(self, left, right)

    monkeypatch.setattr(Dominance, "at_most", counted)
    symbols = [tirx.Var(f"d{i}", "int64") for i in range(120)]
    sizes = SizeAlgebra(symbols)
    heights, height, counts = Heights(sizes), frozenset([sizes.poly(symbols[0])]), []
    for level in range(12):
        terms = [sizes.poly(symbol) for symbol in symbols[level * 10 : level * 10 + 10]]
        before = proofs
        height = heights.highest([heights.top(height, terms[0]), frozenset(terms)])
        counts.append(proofs - before)
    assert len(heights.named) == 12
    assert max(counts) < 60


def test_pairs_that_differ_either_way_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[tuple[Poly, Poly]] = []
    at_most = Dominance.at_most

    def noted(self: Dominance, left: Poly, right: Poly) -> bool:
        searched.append((left, right))
        return at_most(self, left, right)

    monkeypatch.setattr(Dominance, "at_most", noted)
    symbols = [tirx.Var(f"d{i}", "int64") for i in range(40)]
    sizes = SizeAlgebra(symbols)
    heights, height = Heights(sizes), frozenset[Poly]()
    for symbol in symbols:  # stacks on all that came before, beside another of unrelated size
        other = sizes.bytes_of([symbol, 16], FLOAT)
        height = heights.highest([heights.top(height, sizes.bytes_of([symbol], FLOAT)), {other}])
    assert len(searched) < 10 * len(symbols)
    for value in (0, 1, 5, 100):
        dims = {symbol.name: value + number for number, symbol in enumerate(symbols)}
        want = 0
        for symbol in symbols:
            rows = dims[symbol.name]
            want = max(want + -(-rows * 4 // 64) * 64, rows * 64)
        assert heights.evaluate(height, dims) == want


def test_sizes_that_divide_by_a_difference_of_dims_have_maxima() -> None:
    sizes = SizeAlgebra([N, M])
    heights = Heights(sizes)
    terms = [frozenset([sizes.bytes_of([M // (N - value)], FLOAT)]) for value in (1, 3, 64)]
    height = heights.highest([*terms, {sizes.bytes_of([N], FLOAT)}])
    for n, m in ((0, 5), (2, 1000), (100, 7)):
        counts = [n, *(m // (n - value) for value in (1, 3, 64))]
        assert heights.evaluate(height, {"n": n, "m": m}) == max(
            -(-c * 4 // 64) * 64 for c in counts
        )


def test_the_length_and_dims_of_a_maximum_are_known_without_writing_it() -> None:
    symbols = [tirx.Var(f"d{i}", "int64") for i in range(30)]
    sizes = SizeAlgebra(symbols)
    heights, height = Heights(sizes), frozenset[Poly]()
    for level in range(2):
        terms = [frozenset([sizes.poly(s)]) for s in symbols[level * 10 : level * 10 + 10]]
        height = heights.highest(heights.top(height, next(iter(term))) for term in terms)
    assert heights.dims(height) == set(symbols[:20])
    assert set(tirx.analysis.undefined_vars(heights.closed(height))) == set(symbols[:20])
    assert heights.length(height) == 10 * (10 + 1)


def test_quotients_that_occur_again_are_named_once() -> None:
    sizes = SizeAlgebra([N, M])
    heights = Heights(sizes)
    half = (N + 1) // 2
    shapes = [[M, half, half, 16], [M, half, 32]]
    height = frozenset(sizes.bytes_of(shape, FLOAT) for shape in shapes)
    text = heights.text(height)
    assert text.count("(n + 1) // 2") == 1 and "q0 := " in text
    for n in (0, 1, 2, 9):
        for m in (0, 1, 5):
            want = max(64 * m * ((n + 1) // 2) ** 2, 128 * m * ((n + 1) // 2))
            assert arena_bytes(text, {"n": n, "m": m}) == want


def test_size_texts_are_evaluated_without_python() -> None:
    assert arena_bytes("max(n * 4, (n + 63) // 64 * 64) % 100", {"n": 7}) == 64
    assert arena_bytes("(a := n + 1) * a if n >= 2 else -n", {"n": 2}) == 9
    with pytest.raises(InputError, match="dim 'm' is needed and not given"):
        arena_bytes("n + m", {"n": 1})
    for text in ("__import__('os')", "n.real", "n[0]", "open(n)", "lambda: n"):
        with pytest.raises(ValueError, match="not a size expression"):
            arena_bytes(text, {"n": 1})
