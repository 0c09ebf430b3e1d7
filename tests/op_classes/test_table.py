"""The rows: classes, demotion, mapping types."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from tvm_sod2.op_classes import ROWS, Dynamism, Fact, Mapping, row
from tvm_sod2.op_classes.fact import MAX_ENTRIES, tracks


def test_every_row_names_an_operator_that_tvm_has() -> None:
    registered = set(tvm.ir.Op.list_op_names())
    assert sorted(set(ROWS) - registered) == []


def test_the_papers_examples_have_the_papers_classes() -> None:
    examples = {
        "relax.shape_of": Dynamism.ISDO,
        "relax.nn.conv2d": Dynamism.ISDOS,
        "relax.matmul": Dynamism.ISDOS,
        "relax.concat": Dynamism.ISDOS,
        "relax.reshape": Dynamism.ISVDOS,
        "relax.image.resize2d": Dynamism.ISVDOS,
        "relax.nonzero": Dynamism.EDO,
        "relax.unique": Dynamism.EDO,
    }
    assert {name: row(name).dynamism for name in examples} == examples


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
