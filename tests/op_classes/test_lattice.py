"""The laws of merging facts: commutative, associative, idempotent, never more than both sides."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax, tirx

from tests.op_classes.harness import SYMBOLS, arithmetic, envs, evaluate, k, m, n
from tvm_sod2.op_classes import Fact
from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import entries
from tvm_sod2.op_classes.lattice import (
    lacks_dims,
    merge,
    merge_entry,
    merge_values,
    refine,
    with_entries,
)
from tvm_sod2.op_classes.rational import Rational

_ENTRY = st.one_of(
    st.none(),
    st.integers(0, 3),
    st.sampled_from([n, m, k, n + m, m + n, n * 2, n + n, n // 2, tirx.max(n, 3)]),
    st.sampled_from([Rational(n, 2), Rational(1, 2)]),
)
_VALUES = st.one_of(st.none(), st.lists(_ENTRY, min_size=2, max_size=2), st.just([1]))
_DIM = st.one_of(st.integers(0, 3), st.sampled_from([n, m, n + m, m + n, n * 2, n + n]))
_DIMS = st.one_of(st.none(), st.lists(_DIM, min_size=2, max_size=2), st.just([n]))


class _Nacs:
    """Makes stand-ins for nac, and knows them."""

    def __init__(self) -> None:
        self.made: set[tirx.Var] = set()

    def __call__(self, dim: Entry) -> Entry:
        if dim is not None:
            return dim
        stand_in = tirx.Var("nac", "int64")
        self.made.add(stand_in)
        return stand_in


def _fact(dims: list[Entry] | None, value: list[Entry] | None) -> Fact:
    ty = relax.TensorType(dtype="int64", ndim=2) if dims is None else None
    ty = ty or relax.TensorType(
        [tirx.const(d, "int64") if isinstance(d, int) else d for d in dims], "int64"
    )
    return Fact(ty, None if value is None else entries(value))


_FACT = st.one_of(st.none(), st.builds(_fact, _DIMS, _VALUES))


def _meaning(fact: Fact | None) -> object:
    """What a fact says, nac by that name whatever its stand-in, expressions by their numbers."""
    if fact is None:
        return "undef"

    def name(entry: Entry) -> object:
        if entry is None or (isinstance(entry, tirx.Var) and entry not in SYMBOLS):
            return "nac"
        return tuple(evaluate(entry, env) for env in _ENVS)

    if fact.fields:
        return [_meaning(field) for field in fact.fields]
    dims = fact.dims
    value = None if fact.value is None else (fact.value.shape, [name(e) for e in fact.value.flat])
    return fact.ty.ndim, None if dims is None else [name(d) for d in entries(dims)], value


_ENVS = envs(4, 0, 50)


def _merged(a: Fact | None, b: Fact | None) -> Fact | None:
    return merge(a, b, arithmetic(), _Nacs())


@settings(max_examples=100, deadline=None)
@given(a=_FACT, b=_FACT)
def test_merge_is_commutative(a: Fact | None, b: Fact | None) -> None:
    assert _meaning(_merged(a, b)) == _meaning(_merged(b, a))


@settings(max_examples=100, deadline=None)
@given(a=_FACT, b=_FACT, c=_FACT)
def test_merge_is_associative(a: Fact | None, b: Fact | None, c: Fact | None) -> None:
    assert _meaning(_merged(_merged(a, b), c)) == _meaning(_merged(a, _merged(b, c)))


@settings(max_examples=50, deadline=None)
@given(a=_FACT, b=_FACT)
def test_merge_is_idempotent(a: Fact | None, b: Fact | None) -> None:
    once = _merged(a, b)
    assert _meaning(_merged(once, once)) == _meaning(once)
    assert _meaning(_merged(once, b)) == _meaning(once)


@settings(max_examples=50, deadline=None)
@given(a=_VALUES, b=_VALUES)
def test_a_merged_entry_is_one_of_both(a: list[Entry] | None, b: list[Entry] | None) -> None:
    known = arithmetic()
    arrays = [None if x is None else entries(x) for x in (a, b)]
    merged = merge_values(arrays[0], arrays[1], known)
    for position, entry in enumerate([] if merged is None else merged.flat):
        for array in arrays:
            assert array is not None
            assert entry is None or known.equal(entry, array.flat[position])


def test_undef_is_above_everything() -> None:
    fact = _fact([n, 3], [1, n])
    assert _merged(None, fact) is fact
    assert _merged(fact, None) is fact
    assert _merged(None, None) is None


def test_one_nac_dim_does_not_poison_the_others() -> None:
    nacs = _Nacs()
    merged = merge(_fact([n, 3], None), _fact([m, 3], None), arithmetic(), nacs)
    assert merged is not None and merged.dims is not None
    assert merged.dims[0] in nacs.made
    assert int(merged.dims[1]) == 3


def test_equal_in_other_words_stays() -> None:
    known = arithmetic()
    assert merge_entry(n + m, m + n, known) is not None
    assert merge_entry(n, m, known) is None
    assert merge_entry(Rational(n, 2), Rational(n, 2), known) == Rational(n, 2)


def test_tuples_merge_field_by_field() -> None:
    def pair(*fields: Fact) -> Fact:
        return Fact(relax.TupleType([f.ty for f in fields]), fields=fields)

    merged = _merged(
        pair(_fact([n, 3], None), _fact([n], None)), pair(_fact([n, 4], None), _fact([n], None))
    )
    size = tuple(env["n"] for env in _ENVS)
    assert _meaning(merged) == [(2, [size, "nac"], None), (1, [size], None)]


def test_shapes_merge_per_dim() -> None:
    shapes = [Fact(relax.ShapeType([n, d]), entries([n, d])) for d in (m, k)]
    merged = _merged(*shapes)
    assert merged is not None and merged.value is not None
    assert list(merged.value) == [n, None]
    assert merged.ty.ndim == 2


def test_another_rank_leaves_what_relax_finds_common() -> None:
    merged = _merged(_fact([n, m], None), Fact(relax.TensorType([n], "int64")))
    assert merged is not None
    assert lacks_dims(merged.ty)
    assert merged.ty.ndim == -1


def test_another_dtype_leaves_the_dims_that_are_the_same() -> None:
    merged = _merged(_fact([n, m], None), Fact(relax.TensorType([n, m], "int32")))
    assert merged is not None
    assert merged.dims == [n, m]
    assert merged.ty.dtype is None


def test_refining_fills_in_only_what_relax_left_open() -> None:
    nacs = _Nacs()
    open_, closed = relax.TensorType(dtype="float32", ndim=2), relax.TensorType([n], "float32")
    refined = refine(open_, [3, None], nacs)
    assert int(refined.shape[0]) == 3 and refined.shape[1] in nacs.made
    assert refine(closed, [7], nacs) is closed
    assert lacks_dims(refine(open_, None, nacs))
    both = refine(relax.TupleType([open_, closed]), ([m, n], None), nacs)
    assert [len(field.shape) for field in both.fields] == [2, 1]


def test_entries_go_to_the_fields_that_are_small() -> None:
    small, large = relax.TensorType([2], "int64"), relax.TensorType([n], "int64")
    ty = relax.TupleType([small, large])
    fact = Fact(ty, fields=(Fact(small), Fact(large)))
    found = with_entries(fact, (entries([1, n]), entries([1])))
    assert found.fields[0].value is not None
    assert found.fields[1].value is None
    assert np.array_equal(found.fields[0].value, entries([1, n]))
