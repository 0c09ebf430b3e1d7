"""Loops that carry, build and take apart sequences, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from sequence_graphs import check, floats, index, model

from tvm_sod2 import from_onnx

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


APPENDS = """
    more = Loop (trips, yes, s) <body: graph = turn
        (int64 i, bool c, seq(float[a]) before) => (bool d, seq(float[a]) after) {
        d = Identity (c)
        f = Cast <to = 1> (i)
        y = Add (x, f)
        after = SequenceInsert (before, y)
    }>
"""


def test_appending_in_a_loop_leaves_what_it_starts_with_alone() -> None:
    """The loop has one list from turn to turn; what it began with is read afterwards."""
    proto = model(
        "(seq(float[a]) s, float[n] x, int64 trips)"
        " => (seq(float[a]) more, seq(float[a]) s_again, int64 count, int64[k] counts)",
        "yes = Constant <value = bool {1}> ()"
        + APPENDS
        + """
        s_again = Identity (s)
        count = SequenceLength (s)
        counts = Loop (trips, yes) <body: graph = outer
            (int64 j, bool e) => (bool g, int64 n) {
            g = Identity (e)
            """
        + APPENDS.replace("more", "inner")
        + """
            n = SequenceLength (inner)
        }>
        """,
    )
    assert "sequence_appended" not in from_onnx(proto).script()
    (x,) = floats((3,))
    cases = ((0, 0), (0, 1), (2, 1), (3, 17))
    check(proto, *({"s": floats(*[(2,)] * k), "x": x, "trips": index(t)} for k, t in cases))


def test_a_sequence_that_is_read_while_it_grows() -> None:
    """Each turn's sequence before and after is kept by another that grows, too."""
    proto = model(
        "(float[n] x, int64 trips) => (seq(float[a]) all, float[t] sums, float[t,n] firsts)",
        """
        yes = Constant <value = bool {1}> ()
        start = SequenceConstruct (x)
        all, sums, firsts = Loop (trips, yes, start) <body: graph = turn
            (int64 i, bool c, seq(float[a]) before)
            => (bool d, seq(float[a]) after, float sum, float[n] first) {
            d = Identity (c)
            last = Constant <value_int = -1> ()
            zero = Constant <value_int = 0> ()
            f = Cast <to = 1> (i)
            y = Add (x, f)
            after = SequenceInsert (before, y)
            old = SequenceAt (before, last)
            sum = ReduceSum <keepdims = 0> (old)
            first = SequenceAt (after, zero)
        }>
        """,
    )
    assert "sequence_appended" in from_onnx(proto).script()
    (x,) = floats((3,))
    check(proto, *({"x": x, "trips": index(t)} for t in (1, 2, 17)))


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
    """States, views of them and what arms hand on are kept; no later turn may write over them."""
    proto = model(
        "(float[n,m] x, float[n,m] z, int64 trips)"
        " => (float[n,m] p, float[n,m] q, seq(float[n,m]) all, seq(float[k]) flat,"
        " seq(float[n,m]) pair)",
        """
        start = SequenceEmpty ()
        begun = SequenceConstruct (x, z)
        go = Constant <value = bool {1}> ()
        p, q, all, flat, pair = Loop (trips, go, x, z, start, start, begun) <body: graph = turn
            (int64 i, bool c, float[n,m] a, float[n,m] b, seq(float[n,m]) s, seq(float[k]) t,
             seq(float[n,m]) u)
            => (bool d, float[n,m] b_next, float[n,m] a_next, seq(float[n,m]) s_next,
                seq(float[k]) t_next, seq(float[n,m]) u_next) {
            d = Identity (c)
            all = Constant <value_ints = [-1]> ()
            row = Reshape (b, all)
            t_next = SequenceInsert (t, row)
            s_next = SequenceInsert (s, a)
            zero = Constant <value_int = 0> ()
            first = Equal (i, zero)
            u_next = If (first) <then_branch: graph = yes () => (seq(float[n,m]) v) {
                v = SequenceConstruct (b, a)
            }, else_branch: graph = no () => (seq(float[n,m]) v) {
                last = SequenceAt (u, zero)
                v = SequenceConstruct (last, b)
            }>
            b_next = Identity (b)
            a_next = Add (a, b)
        }>
        """,
    )
    x, z = floats((3, 4), (3, 4))
    check(proto, *({"x": x, "z": z, "trips": index(t)} for t in (0, 1, 2, 7, 16)))
