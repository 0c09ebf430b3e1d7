"""Loops, arms and maps over sequences and optionals, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from sequence_graphs import check, compiled, floats, index, model

from tvm_sod2 import build, from_onnx

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


def test_nested_loops_arms_and_maps() -> None:
    """A sequence grows in an inner loop and in one arm only; a map inside reads the outer state."""
    proto = model(
        "(seq(float[a]) s, float[n] x, int64 outer, int64 inner)"
        " => (seq(float[b]) all, float[t] joined, int64[k] counts)",
        """
        yes = Constant <value = bool {1}> ()
        one = Constant <value_int = 1> ()
        two = Constant <value_int = 2> ()
        zero = Constant <value_int = 0> ()
        all, counts = Loop (outer, yes, s) <body: graph = each
            (int64 i, bool c, seq(float[a]) before) => (bool c1, seq(float[b]) after, int64 count) {
            c1 = Identity (c)
            grown = Loop (inner, yes, before) <body: graph = deeper
                (int64 j, bool d, seq(float[a]) held) => (bool d1, seq(float[b]) more) {
                d1 = Identity (d)
                sum = Add (i, j)
                odd = Mod (sum, two)
                is_odd = Equal (odd, one)
                more = If (is_odd) <then_branch: graph = yes_arm () => (seq(float[b]) p) {
                    f = Cast <to = 1> (sum)
                    y = Add (x, f)
                    p = SequenceInsert (held, y, zero)
                }, else_branch: graph = no_arm () => (seq(float[b]) p) {
                    p = Identity (held)
                }>
            }>
            after = SequenceMap (grown) <body: graph = mapped (float[b] q) => (float[b] r) {
                half = Constant <value_float = 0.5> ()
                r = Mul (q, half)
            }>
            count = SequenceLength (after)
        }>
        with = SequenceInsert (all, x)
        joined = ConcatFromSequence <axis = 0> (with)
        """,
    )
    (x,) = floats((5,))
    feeds = [
        {"s": floats(*lengths), "x": x, "outer": index(outer), "inner": index(inner)}
        for lengths, outer, inner in (
            ([], 0, 3),
            ([], 1, 1),
            ([(2,), (0,)], 3, 0),
            ([(3,)], 5, 4),
        )
    ]
    check(proto, *feeds)


def test_a_scan_reads_a_sequence_of_the_outside() -> None:
    proto = model(
        "(seq(float[k,3]) s, int64[n] order, float[3] start) => (float[3] last, float[n,3] sums)",
        """
        last, sums = Scan <num_scan_inputs = 1, body: graph = each
            (float[3] before, int64 at) => (float[3] after, float[3] sum) {
            t = SequenceAt (s, at)
            axes = Constant <value_ints = [0]> ()
            sum = ReduceSum <keepdims = 0> (t, axes)
            after = Add (before, sum)
        }> (start, order)
        """,
    )
    (start,) = floats((3,), seed=1)
    feeds = [
        {"s": floats(*[(i + 1, 3) for i in range(4)]), "order": np.asarray(order), "start": start}
        for order in ([3], [0, -1, 2, 2, -4], list(range(4)) * 4 + [1])
    ]
    check(proto, *feeds)


def test_what_the_user_gave_stays_as_it_was() -> None:
    """Neither an array nor a list, such as the result of a call, is changed by another call."""
    proto = model(
        "(seq(float[k]) s, float[n] x) => (seq(float[k]) more, seq(float[k]) less)",
        "more = SequenceInsert (s, x) less = SequenceErase (more) ",
    )
    vm = tvm.relax.VirtualMachine(build(from_onnx(proto)), tvm.cpu())
    x = tvm.runtime.tensor(np.ones(2, "float32"))
    first, nothing = vm["main"]([], x)
    assert (len(first), len(nothing)) == (1, 0)
    second, same = vm["main"](first, x)
    third, _ = vm["main"](second, x)
    assert [len(values) for values in (first, second, third, same)] == [1, 2, 3, 1]
