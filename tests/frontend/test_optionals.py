"""Optionals: decided at import, decided by what is given, and by arms and loops."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sequence_graphs import agree, compiled, floats, index, model

from tvm_sod2 import from_onnx
from tvm_sod2.errors import ImportModelError


def test_what_is_given_or_not() -> None:
    """ONNX Runtime takes no None for a sequence, so the answers stand here."""
    proto = model(
        "(optional(float[n]) t, optional(seq(float[m])) s)"
        " => (bool has_t, bool has_s, optional(float[n]) t_again, optional(seq(float[m])) s_again)",
        """
        has_t = OptionalHasElement (t)
        has_s = OptionalHasElement (s)
        t_again = Identity (t)
        s_again = Identity (s)
        """,
    )
    call = compiled(proto)
    for t in (None, *floats((0,), (3,))):
        for s in (None, [], floats((2,)), floats((1,), (4,))):
            agree(call(t, s), [np.asarray(t is not None), np.asarray(s is not None), t, s])


def test_only_the_live_arm_takes_the_element() -> None:
    proto = model(
        "(optional(float[n,m]) t, float[k,m] other) => (float[a,b] y, int64 count)",
        """
        has = OptionalHasElement (t)
        y, count = If (has) <then_branch: graph = yes () => (float[a,b] p, int64 q) {
            e = OptionalGetElement (t)
            p = Exp (e)
            q = Size (p)
        }, else_branch: graph = no () => (float[a,b] p, int64 q) {
            p = Neg (other)
            q = Constant <value_int = -1> ()
        }>
        """,
    )
    call = compiled(proto)
    t, other = floats((2, 3), (4, 3))
    agree(call(t, other), [np.exp(t), index(6)])
    agree(call(None, other), [-other, index(-1)])


@pytest.mark.parametrize("kind", ["float[n]", "seq(float[n])"])
def test_an_element_that_is_not_there_is_refused_by_name(kind: str) -> None:
    body = "e = OptionalGetElement (t) y = Identity (e)"
    call = compiled(model(f"(optional({kind}) t) => ({kind} y)", body))
    (x,) = floats((3,))
    given = x if kind == "float[n]" else [x, x]
    agree(call(given), [given])
    message = "node e (OptionalGetElement): its input holds nothing; ask OptionalHasElement first"
    with pytest.raises(ValueError, match=re.escape(message)):
        call(None)


@pytest.mark.parametrize("opset", [15, 18])
def test_what_is_known_at_import_leaves_nothing(opset: int) -> None:
    """Plain tensors and sequences have an element; so has, at import, what Optional made."""
    shared = """
        o = Optional (x)
        has = OptionalHasElement (o)
        e = OptionalGetElement (o)
        s = SequenceConstruct (x, e)
        p = Optional (s)
        r = OptionalGetElement (p)
        y = ConcatFromSequence <axis = 0> (r)
    """
    newer = """
        empty = Optional <type = float[n]> ()
        hasnt = OptionalHasElement (empty)
    """
    plain = """
        plain = OptionalHasElement (x)
        missing = OptionalHasElement ()
        same = OptionalGetElement (x)
    """
    outputs = "float[k] y, bool has, bool hasnt"
    if opset >= 18:
        outputs += ", bool plain, bool missing, float[n] same"
    proto = model(
        f"(float[n] x) => ({outputs})", shared + newer + (plain if opset >= 18 else ""), opset
    )
    assert "packed" not in from_onnx(proto).script()
    (x,) = floats((5,))
    expected = [np.concatenate([x, x]), np.asarray(True), np.asarray(False)]
    if opset >= 18:
        expected += [np.asarray(True), np.asarray(False), x]
    agree(compiled(proto)(x), expected)


def test_an_element_known_to_be_missing_is_refused_at_import() -> None:
    body = "o = Optional <type = float[n]> () y = OptionalGetElement (o)"
    with pytest.raises(ImportModelError, match=r"node y \(OptionalGetElement\).*holds nothing"):
        from_onnx(model("(float[n] x) => (float[n] y)", body))


def test_arms_that_give_something_or_nothing() -> None:
    proto = model(
        "(bool c, float[n] x) => (optional(seq(float[n])) o, optional(float[n]) t)",
        """
        o, t = If (c) <then_branch: graph = yes ()
            => (optional(seq(float[n])) a, optional(float[n]) b) {
            e = Exp (x)
            s = SequenceConstruct (x, e)
            a = Optional (s)
            b = Optional (e)
        }, else_branch: graph = no () => (optional(seq(float[n])) a, optional(float[n]) b) {
            a = Optional <type = seq(float[n])> ()
            b = Optional <type = float[n]> ()
        }>
        """,
    )
    call = compiled(proto)
    for (x,) in (floats((n,)) for n in (0, 1, 7)):
        agree(call(np.asarray(True), x), [[x, np.exp(x)], np.exp(x)])
        agree(call(np.asarray(False), x), [None, None])


def test_a_loop_that_starts_with_nothing() -> None:
    """The node test of ONNX, for which ONNX Runtime takes no None, at several numbers of turns."""
    proto = model(
        "(int64 trips, bool go, optional(seq(float)) start) => (seq(float[k]) all)",
        """
        all = Loop (trips, go, start) <body: graph = turn
            (int64 i, bool c, optional(seq(float)) before) => (bool d, seq(float) after) {
            d = Identity (c)
            has = OptionalHasElement (before)
            values = If (has) <then_branch: graph = yes () => (seq(float) s) {
                s = OptionalGetElement (before)
            }, else_branch: graph = no () => (seq(float) s) {
                zero = Constant <value_float = 0.0> ()
                s = SequenceConstruct (zero)
            }>
            f = Cast <to = 1> (i)
            next = Constant <value_ints = [-1]> ()
            row = Reshape (f, next)
            after = SequenceInsert (values, row)
        }>
        """,
        opset=16,
    )
    call = compiled(proto)
    for trips in (1, 2, 17):
        rows = [np.full(1, i, "float32") for i in range(trips)]
        first = np.zeros((), "float32")
        agree(call(index(trips), np.asarray(True), None), [[first, *rows]])
        agree(call(index(trips), np.asarray(True), []), [rows])
