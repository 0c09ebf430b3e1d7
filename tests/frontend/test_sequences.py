"""Sequences and optionals against ONNX Runtime, each model built once."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sequence_graphs import Feed, check, compiled, floats, model

from tvm_sod2 import from_onnx
from tvm_sod2.errors import ImportModelError


def index(number: int) -> np.ndarray:
    return np.asarray(number, "int64")


def test_take_put_and_erase_at_run_time() -> None:
    """Places from either end, in sequences of tensors of unlike shapes."""
    proto = model(
        "(seq(float[n,m]) s, float[k,l] x, int64 i, int64 j, int64 e)"
        " => (float[a,b] y, seq(float[u,v]) put, seq(float[u,v]) last, seq(float[u,v]) left,"
        " seq(float[u,v]) init, int64 count)",
        """
        y = SequenceAt (s, i)
        put = SequenceInsert (s, x, j)
        last = SequenceInsert (s, x)
        left = SequenceErase (s, e)
        init = SequenceErase (s)
        count = SequenceLength (put)
        """,
    )
    shapes = [(2, 3), (1, 1), (0, 4), (5, 7), (3, 0)]
    feeds: list[Feed] = []
    for length in (1, 2, 5):
        values, (x,) = floats(*shapes[:length]), floats((4, 2), seed=1)
        for place in range(-length, length):
            # Where to put may be behind the last one, too.
            put = place if place < 0 else place + 1
            feeds.append(
                {"s": values, "x": x, "i": index(place), "j": index(put), "e": index(place)}
            )
    check(proto, *feeds)


@pytest.mark.parametrize(
    ("node", "length", "place", "message"),
    [
        ("y = SequenceAt (s, p)", 3, 3, "node y (SequenceAt): its position is outside"),
        ("y = SequenceAt (s, p)", 3, -4, "expected -n to n - 1 where n tensors are in"),
        ("y = SequenceAt (s, p)", 0, 0, "node y (SequenceAt): its position is outside"),
        ("y = SequenceAt (s, p)", 0, -1, "node y (SequenceAt): its position is outside"),
        ("q = SequenceErase (s, p) y = SequenceLength (q)", 2, 2, "node q (SequenceErase)"),
        ("q = SequenceErase (s) y = SequenceLength (q)", 0, 0, "node q (SequenceErase)"),
        ("q = SequenceInsert (s, x, p) y = SequenceLength (q)", 2, 3, "node q (SequenceInsert)"),
        ("q = SequenceInsert (s, x, p) y = SequenceLength (q)", 2, -3, "expected -n to n where"),
        (
            "y = ConcatFromSequence <axis = 0> (s)",
            0,
            0,
            "node y (ConcatFromSequence): its input is",
        ),
    ],
)
def test_a_place_outside_is_refused_by_name(
    node: str, length: int, place: int, message: str
) -> None:
    kind = "int64" if "Length" in node else "float[?]"
    call = compiled(model(f"(seq(float[n]) s, float[k] x, int64 p) => ({kind} y)", node))
    with pytest.raises(ValueError, match=re.escape(message)):
        call(floats(*[(2,)] * length), np.zeros(2, "float32"), index(place))


def test_split_and_join_at_run_time() -> None:
    """Even parts whose last is smaller, parts of sizes given, single indices; and back."""
    proto = model(
        "(float[n,m] x, int64 part, int64[k] sizes, int64[2] two)"
        " => (seq(float[a,m]) even, seq(float[b,m]) parts, seq(float[c,m]) pair,"
        " seq(float[n]) columns, seq(float[1,m]) rows, seq(float[d,m]) threes,"
        " float[n,m] joined, float[e,m,f] stacked, float[n,g] back)",
        """
        even = SplitToSequence <axis = 0> (x, part)
        parts = SplitToSequence <axis = -2> (x, sizes)
        pair = SplitToSequence (x, two)
        columns = SplitToSequence <axis = 1, keepdims = 0> (x)
        rows = SplitToSequence (x)
        three = Constant <value_int = 3> ()
        threes = SplitToSequence (x, three)
        joined = ConcatFromSequence <axis = 0> (parts)
        stacked = ConcatFromSequence <axis = -1, new_axis = 1> (rows)
        back = ConcatFromSequence <axis = 1, new_axis = 1> (columns)
        """,
    )
    feeds: list[Feed] = []
    for rows, columns, part, sizes in (
        (7, 3, 3, [2, 0, 5]),
        (1, 1, 9, [1]),
        (64, 2, 64, [1] * 64),
        (6, 5, 1, [6]),
        (17, 4, 5, [16, 1]),
    ):
        (x,) = floats((rows, columns))
        two = np.asarray([rows // 2, rows - rows // 2])
        feeds.append({"x": x, "part": index(part), "sizes": np.asarray(sizes), "two": two})
    check(proto, *feeds)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("int64", index(0), "node s (SplitToSequence): the size of its parts must be above 0"),
        ("int64", index(-2), "node s (SplitToSequence): the size of its parts must be above 0"),
        ("int64[k]", np.asarray([2, 2]), "must be 0 or more and add up to its axis"),
        ("int64[k]", np.asarray([6, -1]), "must be 0 or more and add up to its axis"),
        ("int64[3]", np.asarray([2, 2, 2]), "must be 0 or more and add up to its axis"),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_name(
    kind: str, given: np.ndarray, message: str
) -> None:
    proto = model(
        f"(float[n] x, {kind} given) => (int64 y)",
        "s = SplitToSequence (x, given) y = SequenceLength (s)",
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        compiled(proto)(np.zeros(5, "float32"), given)


def test_what_is_known_at_import_leaves_no_list() -> None:
    """Built, taken, erased and joined at known places: plain tensors, free to fuse."""
    proto = model(
        "(float[n,6] x, float[n,2] z) => (float[n,k] y, int64 count)",
        """
        two = Constant <value_int = 2> ()
        minus = Constant <value_int = -1> ()
        zero = Constant <value_int = 0> ()
        parts = SplitToSequence <axis = 1> (x, two)
        more = SequenceInsert (parts, z, minus)
        less = SequenceErase (more, zero)
        last = SequenceAt (less, minus)
        twice = Add (last, last)
        all = SequenceInsert (less, twice)
        y = ConcatFromSequence <axis = 1> (all)
        count = SequenceLength (all)
        """,
    )
    mod = from_onnx(proto)
    assert "ffi.List" not in mod.script()
    check(proto, *({"x": x, "z": z} for x, z in (floats((n, 6), (n, 2)) for n in (1, 5, 17))))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("i = Constant <value_int = 2> () y = SequenceAt (s, i)", "position 2 is outside of a seq"),
        ("i = Constant <value_int = -3> () y = SequenceAt (s, i)", "expected -2 to 1"),
        ("d = Cast <to = 7> (x) t = SequenceInsert (s, d) y = Identity (x)", "int64 is put into"),
    ],
)
def test_a_known_mistake_is_refused_at_import(body: str, message: str) -> None:
    proto = model("(float[n] x) => (float[n] y)", f"s = SequenceConstruct (x, x) {body}")
    with pytest.raises(ImportModelError, match=message):
        from_onnx(proto)


def test_without_a_rank_nothing_is_guessed() -> None:
    body = "t = SequenceAt (s, i) u = Neg (t) y = Shape (u)"
    with pytest.raises(ImportModelError, match="rank of the tensors in its input is not known"):
        from_onnx(model("(seq(float[]) s, int64 i) => (int64[k] y)", body))


BUILDS = """
    start = SequenceEmpty ()
    all = Loop (trips, go, start) <body: graph = turn
        (int64 i, bool c, seq(float[a,b]) before) => (bool d, seq(float[a,b]) after) {
        d = Identity (c)
        f = Cast <to = 1> (i)
        grown = Add (x, f)
        one = Constant <value_ints = [1]> ()
        zero = Constant <value_ints = [0]> ()
        next = Add (i, one)
        cut = Slice (grown, zero, next)
        front = Constant <value_int = 0> ()
        after = SequenceInsert (before, cut, front)
    }>
"""


@pytest.mark.parametrize("axis", [0, 1])
def test_a_loop_builds_a_sequence_of_unlike_tensors(axis: int) -> None:
    """No turn, one, and more than the tensor has rows; captured values; read back and joined."""
    proto = model(
        "(float[n,3] x, int64 trips, bool go)"
        " => (seq(float[a,b]) all, float[k,l] joined, int64 count)",
        BUILDS
        + """
        count = SequenceLength (all)
        with = SequenceInsert (all, x)
        joined = ConcatFromSequence <axis = 0> (with)
        """,
    )
    (x,) = floats((5, 3))
    feeds = [{"x": x, "trips": index(t), "go": np.asarray(t != 4)} for t in (0, 1, 2, 4, 17)]
    check(proto, *feeds)


def test_a_loop_takes_apart_what_it_is_given() -> None:
    """The last one is added to a sum and dropped while any is left: the condition ends it."""
    proto = model(
        "(seq(float[m]) s, float[m] zero) => (float[m] sum, seq(float[m]) rest, float[t,m] seen)",
        """
        most = Constant <value_int = 100> ()
        length = SequenceLength (s)
        none = Constant <value_int = 0> ()
        go = Greater (length, none)
        sum, rest, seen = Loop (most, go, zero, s) <body: graph = turn
            (int64 i, bool c, float[m] sum_in, seq(float[m]) left)
            => (bool d, float[m] sum_out, seq(float[m]) fewer, float[m] last) {
            end = Constant <value_int = -1> ()
            last = SequenceAt (left, end)
            sum_out = Add (sum_in, last)
            fewer = SequenceErase (left)
            now = SequenceLength (fewer)
            limit = Constant <value_int = 1> ()
            d = GreaterOrEqual (now, limit)
        }>
        """,
    )
    check(proto, *({"s": floats(*[(4,)] * n), "zero": np.zeros(4, "float32")} for n in (1, 3, 17)))


def test_states_kept_in_a_sequence_do_not_change_afterwards() -> None:
    """Each turn's state is put into a sequence, and no later turn may write over it."""
    proto = model(
        "(float[n,m] x, int64 trips) => (float[n,m] last, seq(float[n,m]) all)",
        """
        start = SequenceEmpty ()
        go = Constant <value = bool {1}> ()
        last, all = Loop (trips, go, x, start) <body: graph = turn
            (int64 i, bool c, float[n,m] now, seq(float[n,m]) before)
            => (bool d, float[n,m] next, seq(float[n,m]) after) {
            d = Identity (c)
            after = SequenceInsert (before, now)
            next = Add (now, now)
        }>
        """,
    )
    (x,) = floats((3, 4))
    check(proto, *({"x": x, "trips": index(t)} for t in (0, 1, 7, 16)))


def test_arms_with_sequences_of_unlike_lengths() -> None:
    proto = model(
        "(bool c, float[n,m] x, seq(float[k,l]) s)"
        " => (seq(float[u,v]) r, float[n,m] y, int64 count, float[a,b] first)",
        """
        r, y = If (c) <then_branch: graph = then () => (seq(float[u,v]) a, float[n,m] z) {
            w = Exp (x)
            a = SequenceConstruct (x, w, x)
            z = Neg (x)
        }, else_branch: graph = other () => (seq(float[u,v]) a, float[n,m] z) {
            h = Tanh (x)
            a = SequenceInsert (s, h)
            z = Identity (x)
        }>
        count = SequenceLength (r)
        zero = Constant <value_int = 0> ()
        first = SequenceAt (r, zero)
        """,
    )
    (x,) = floats((2, 3))
    feeds = [
        {"c": np.asarray(c), "x": x, "s": floats(*shapes)}
        for c in (True, False)
        for shapes in ([], [(4, 1)], [(2, 2), (0, 5), (1, 1)])
    ]
    check(proto, *feeds)


MAPS = """
    y, d = SequenceMap (s, t, x) <body: graph = each (float[a,b] p, float[c] q, float[b] w)
        => (float[a,b] r, int64[2] dims) {
        e = Mul (p, w)
        sum = ReduceSum <keepdims = 0> (q)
        f = Add (e, sum)
        r = Mul (f, scale)
        dims = Shape (p)
    }>
"""


def test_map_over_unlike_tensors() -> None:
    """Two sequences side by side, a tensor for all, a captured one; lengths 0, 1 and 17."""
    proto = model(
        "(seq(float[a,b]) s, seq(float[c]) t, float[b] x, float scale)"
        " => (seq(float[a,b]) y, seq(int64[2]) d)",
        MAPS,
    )
    feeds = []
    for count in (0, 1, 2, 17):
        s = floats(*((i % 4 + 1, 3) for i in range(count)))
        t = floats(*((i,) for i in range(count)), seed=1)
        x, scale = floats((3,), (), seed=2)
        feeds.append({"s": s, "t": t, "x": x, "scale": scale})
    check(proto, *feeds)


def test_map_over_what_is_known_is_written_out() -> None:
    proto = model(
        "(float[a,b] p, float[c,b] q, float[c] u, float[b] x, float scale)"
        " => (seq(float[k,b]) y, seq(int64[2]) d)",
        "s = SequenceConstruct (p, q, p) t = SequenceConstruct (u, u, u) " + MAPS,
    )
    assert "loop" not in from_onnx(proto).script()
    p, q, u, x, scale = floats((2, 3), (5, 3), (5,), (3,), ())
    check(proto, {"p": p, "q": q, "u": u, "x": x, "scale": scale})


def test_map_refuses_a_sequence_shorter_than_the_first() -> None:
    proto = model(
        "(seq(float[a]) s, seq(float[a]) t) => (seq(float[a]) y)",
        """y = SequenceMap (s, t) <body: graph = each (float[a] p, float[a] q) => (float[a] r) {
            r = Add (p, q)
        }>""",
    )
    with pytest.raises(ValueError, match="node y \\(SequenceMap\\): its input 1 has fewer tensors"):
        compiled(proto)(floats((2,), (2,)), floats((2,)))
