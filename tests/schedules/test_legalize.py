"""Anchors keep their parameters, and what we do not know goes TVM's way."""

import numpy as np
import tvm
from kernel_cases import Case, dims, fused, random, tensor
from tvm import relax, s_tir, tirx

from tvm_sod2.schedules.legalize import LEGALIZE

op = relax.op


def _anchor(mod: tvm.IRModule) -> dict:
    (func,) = (f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc))
    sch = s_tir.Schedule(func)
    (block,) = sch.get_child_blocks(sch.get_sblock("root"))
    return dict(sch.get(block).annotations)


def test_convolution_keeps_all_parameters() -> None:
    n, h, w = dims("n h w")
    conv = Case(
        lambda x, k: op.nn.conv2d(
            x,
            k,
            strides=(2, 1),
            padding=(1, 2, 3, 4),
            dilation=(1, 2),
            groups=2,
            data_layout="NHWC",
            kernel_layout="OHWI",
        ),
        [tensor(n, h, w, 4)],
        [random(6, 3, 3, 2)],
    )
    anchor = _anchor(fused({"conv": conv}))
    assert anchor["sod2.anchor"] == "conv2d"
    assert list(anchor["sod2.strides"]) == [2, 1]
    assert list(anchor["sod2.padding"]) == [1, 2, 3, 4]
    assert list(anchor["sod2.dilation"]) == [1, 2]
    assert anchor["sod2.groups"] == 2


def test_padding_adds_no_second_block() -> None:
    n, h, w = dims("n h w")
    conv = Case(
        lambda x, k: op.nn.conv2d(x, k, padding=(1, 1)), [tensor(n, 3, h, w)], [random(4, 3, 3, 3)]
    )
    assert _anchor(fused({"conv": conv}))["sod2.data_layout"] == "NCHW"


def test_other_types_go_to_tvm() -> None:
    m = tirx.Var("m", "int64")
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((m, 4), "float64"))
    with bb.function("main", [x]):
        bb.emit_func_output(bb.emit(op.matmul(x, relax.const(np.ones((4, 4)), "float64"))))
    mod = relax.transform.LegalizeOps(LEGALIZE)(bb.get())
    (func,) = (f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc))
    assert "sod2.anchor" not in func.script()


def test_vectors_go_to_tvm() -> None:
    m = tirx.Var("m", "int64")
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((m,), "float32"))
    with bb.function("main", [x]):
        bb.emit_func_output(bb.emit(op.matmul(x, x)))
    mod = relax.transform.LegalizeOps(LEGALIZE)(bb.get())
    (func,) = (f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc))
    assert "sod2.anchor" not in func.script()
