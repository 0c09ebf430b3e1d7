"""Arms, maps and nests of control flow over sequences, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from sequence_graphs import check, compiled, floats, index, model

from tvm_sod2 import build, from_onnx


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
