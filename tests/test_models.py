"""Real models: one build each, right at every shape, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tvm
from tvm import relax

import tvm_sod2
from scripts.model_inputs import page
from tvm_sod2.passes.fold_shapes import fold_shapes
from tvm_sod2.passes.name_unknown import name_unknown_dims

pytestmark = pytest.mark.model

TOLERANCE = 1e-3
Shape = tuple[int, int, int, int]


def recogniser_shape(rng: np.random.Generator) -> Shape:
    return int(rng.integers(1, 4)), 3, 48, int(rng.integers(5, 400))


def detector_shape(rng: np.random.Generator) -> Shape:
    """Sides that the model itself admits: (side - 1) % 32 >= 28."""
    sides = 32 * rng.integers(1, 9, 2) - rng.integers(0, 4, 2)
    return int(rng.integers(1, 3)), 3, int(sides[0]), int(sides[1])


def classifier_shape(rng: np.random.Generator) -> Shape:
    """Below a height of 33 its last pooling would be over nothing."""
    return int(rng.integers(1, 5)), 3, int(rng.integers(33, 81)), int(rng.integers(24, 257))


MODELS: dict[str, Callable[[np.random.Generator], Shape]] = {
    "ch_PP-OCRv4_rec_infer": recogniser_shape,
    "ch_PP-OCRv4_det_infer": detector_shape,
    "ch_ppocr_mobile_v2.0_cls_infer": classifier_shape,
}


@pytest.mark.parametrize("name", MODELS)
def test_one_build_is_right_at_ten_random_shapes(name: str, models: Callable[[str], Path]) -> None:
    path = models(name)
    rng = np.random.default_rng(sum(map(ord, name)))
    session = onnxruntime.InferenceSession(path)
    (source,) = [value.name for value in session.get_inputs()]
    main = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(path)), tvm.cpu())["main"]
    for _ in range(10):
        image = page(MODELS[name](rng), rng)
        (expected,) = session.run(None, {source: image})
        found = main(tvm.runtime.tensor(image)).numpy()
        assert found.shape == expected.shape
        error = np.abs(found - expected).max() / np.abs(expected).max()
        assert error < TOLERANCE, f"{name} at {image.shape}: {error:.1e}"


@pytest.mark.parametrize("name", MODELS)
def test_no_shape_arithmetic_and_no_fresh_symbol_is_left(
    name: str, models: Callable[[str], Path]
) -> None:
    mod = tvm_sod2.from_onnx(models(name))
    folded = fold_shapes(name_unknown_dims(mod))
    relax.analysis.well_formed(folded)
    main = folded["main"]
    inputs = relax.analysis.definable_tir_vars_in_type(relax.TupleType([p.ty for p in main.params]))
    assert set(relax.analysis.defined_symbolic_vars(main)) == set(inputs)
    operators = {
        b.value.op.name
        for block in main.body.blocks
        for b in block.bindings
        if isinstance(b.value, relax.Call)
    }
    assert not operators & {"relax.shape_of", "relax.shape_to_tensor", "relax.tensor_to_shape"}


def test_every_dim_of_the_recogniser_is_found(models: Callable[[str], Path]) -> None:
    report = tvm_sod2.analyze(tvm_sod2.from_onnx(models("ch_PP-OCRv4_rec_infer")))
    assert report.counts["unknown"] == 0
    assert report.values["softmax_11.tmp_0"].dims == (
        "p2o_DynamicDimension_0",
        "(p2o_DynamicDimension_1 - 5) // 8 + 1",
        6625,
    )


def test_a_height_that_the_recogniser_cannot_take_is_refused_by_name(
    models: Callable[[str], Path],
) -> None:
    executable = tvm_sod2.build(tvm_sod2.from_onnx(models("ch_PP-OCRv4_rec_infer")))
    main = relax.VirtualMachine(executable, tvm.cpu())["main"]
    with pytest.raises(ValueError, match=r"Concat.*dim 2 of .* expected \(x_d2 - 33\) // 48 \+ 1"):
        main(tvm.runtime.tensor(np.zeros((1, 3, 96, 320), np.float32)))
