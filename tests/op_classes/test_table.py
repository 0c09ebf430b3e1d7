"""The rows: complete over TVM's registry, classes, demotion, mapping types."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from tvm_sod2.op_classes import ROWS, Dynamism, Fact, Mapping, row
from tvm_sod2.op_classes.fact import MAX_ENTRIES, constant_entries, tracks
from tvm_sod2.op_classes.rational import Rational
from tvm_sod2.op_classes.table import NO_ROW, why_no_row

_REGISTERED = sorted(n for n in tvm.ir.Op.list_op_names() if n.startswith("relax."))


def test_every_row_names_an_operator_that_tvm_has() -> None:
    assert sorted(set(ROWS) - set(_REGISTERED)) == []


@pytest.mark.parametrize("name", _REGISTERED)
def test_every_operator_that_tvm_has_has_a_row_or_a_reason(name: str) -> None:
    assert (name in ROWS) != (why_no_row(name) is not None)


def test_every_reason_is_of_an_operator_that_tvm_has() -> None:
    for name in NO_ROW:
        prefix = name.endswith(".")
        assert any(op.startswith(name) if prefix else op == name for op in _REGISTERED), name


def test_an_unknown_operator_has_no_reason() -> None:
    assert why_no_row("relax.nobody_knows") is None


def test_the_papers_examples_have_the_papers_classes() -> None:
    examples = {
        "relax.shape_of": Dynamism.ISDO,
        "relax.size": Dynamism.ISDO,
        "relax.nn.conv2d": Dynamism.ISDOS,
        "relax.matmul": Dynamism.ISDOS,
        "relax.concat": Dynamism.ISDOS,
        "relax.take": Dynamism.ISDOS,
        "relax.reshape": Dynamism.ISVDOS,
        "relax.arange": Dynamism.ISVDOS,
        "relax.dynamic_strided_slice": Dynamism.ISVDOS,
        "relax.image.resize2d": Dynamism.ISVDOS,
        "relax.nonzero": Dynamism.EDO,
        "relax.unique": Dynamism.EDO,
    }
    assert {name: row(name).dynamism for name in examples} == examples


def test_shape_inputs_belong_to_isvdos_alone() -> None:
    for name, its in ROWS.items():
        assert bool(its.shape_inputs) == (its.dynamism is Dynamism.ISVDOS), name


def test_mapping_types_follow_dnnfusion() -> None:
    examples = {
        "relax.add": Mapping.ONE_TO_ONE,
        "relax.concat": Mapping.ONE_TO_ONE,
        "relax.broadcast_to": Mapping.ONE_TO_MANY,
        "relax.nn.softmax": Mapping.MANY_TO_MANY,
        "relax.reshape": Mapping.REORGANIZE,
        "relax.permute_dims": Mapping.SHUFFLE,
    }
    assert {name: row(name).mapping for name in examples} == examples


def test_a_known_shape_input_demotes_isvdos() -> None:
    shape = relax.ShapeType([2, 3])
    tensor = Fact(relax.TensorType([6], "float32"))
    known = Fact(shape, np.array([2, 3], dtype=object))
    unknown = Fact(shape, np.array([2, None], dtype=object))
    assert row("relax.reshape").demoted([tensor, known]) is Dynamism.ISDOS
    assert row("relax.reshape").demoted([tensor, unknown]) is Dynamism.ISVDOS


def test_an_operator_without_a_row_is_fused_with_nothing() -> None:
    assert row("relax.nobody_knows").mapping is Mapping.MANY_TO_MANY


def test_small_tensors_are_tracked() -> None:
    assert tracks("int64", MAX_ENTRIES)
    assert not tracks("int64", MAX_ENTRIES + 1)


def test_floats_too_narrow_for_dims_are_not_tracked() -> None:
    assert tracks("float32", 1)
    assert not any(tracks(dtype, 1) for dtype in ("float16", "bfloat16", "float8_e4m3fn"))


def test_constants_are_integers_or_fractions() -> None:
    found = constant_entries(np.array([2.0, 1.5, 0.1, np.inf, np.nan], "float32"))
    assert found is not None
    assert list(found) == [2, Rational(3, 2), None, None, None]
