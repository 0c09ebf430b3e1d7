"""Convolutions with weights of run-time size, against ONNX Runtime at several shapes each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from peer import check, parsed

from tvm_sod2 import from_onnx
from tvm_sod2.errors import ImportModelError


class Case(NamedTuple):
    """A graph, and the shapes of its inputs run by run."""

    name: str
    text: str
    shapes: list[list[tuple[int, ...]]]


CASES = [
    Case(
        "conv",
        "(float[n,c,h,w] x, float[m,i,p,q] k) => (float[n,m,r,s] y)"
        "{ y = Conv<pads=[1,0,2,1], strides=[2,1], dilations=[1,2], group=2>(x, k) }",
        [[(1, 4, 7, 9), (6, 2, 3, 2)], [(2, 2, 5, 5), (2, 1, 1, 3)], [(1, 6, 13, 8), (4, 3, 5, 1)]],
    ),
    Case(
        "conv_same",
        "(float[n,3,w] x, float[m,3,q] k, float[m] b) => (float[n,m,s] y, float[n,m,t] z)"
        '{ y = Conv<auto_pad="SAME_LOWER", strides=[3]>(x, k, b)'
        '  z = Conv<auto_pad="SAME_UPPER">(x, k) }',
        [[(1, 3, 11), (2, 3, 4), (2,)], [(2, 3, 1), (1, 3, 1), (1,)], [(1, 3, 7), (5, 3, 5), (5,)]],
    ),
    Case(
        "transposed",
        "(float[n,c,h,w] x, float[c,m,p,q] k) => (float[n,o,r,s] y)"
        "{ y = ConvTranspose<pads=[1,0,0,1], strides=[3,2], output_padding=[2,0], group=2>(x, k) }",
        [[(1, 4, 7, 9), (4, 3, 3, 2)], [(2, 2, 1, 1), (2, 1, 1, 3)], [(0, 2, 4, 3), (2, 5, 2, 2)]],
    ),
    Case(
        "transposed_same",
        "(float[n,c,h,w] x, float[c,m,p,q] k, float[m] b) => (float[n,m,r,s] y)"
        '{ y = ConvTranspose<auto_pad="SAME_UPPER", strides=[2,3]>(x, k, b) }',
        [[(1, 2, 7, 9), (2, 3, 3, 4), (3,)], [(2, 1, 1, 5), (1, 1, 5, 3), (1,)]],
    ),
    Case(
        "transposed_to_a_shape",
        "(float[n,2,h] x, float[2,3,q] k) => (float[n,3,r] y)"
        "{ y = ConvTranspose<output_shape=[17], strides=[2]>(x, k) }",
        [[(1, 2, 8), (2, 3, 5)], [(2, 2, 8), (2, 3, 3)]],
    ),
    Case(
        "transposed_to_a_shape_by_known_weight",
        "(float[n,1,h] x) => (float[n,1,r] y) <float[1,1,3] k = {1, 2, 3}>"
        "{ y = ConvTranspose<output_shape=[17], strides=[2]>(x, k) }",
        [[(1, 1, 8)], [(2, 1, 9)]],
    ),
    Case(
        "integers",
        "(uint8[n,c,h,w] x, uint8[m,c,p,q] k, uint8 a, uint8 b) => (int32[n,m,r,s] y)"
        "{ y = ConvInteger<pads=[1,1,1,1]>(x, k, a, b) }",
        [[(1, 2, 7, 9), (3, 2, 3, 2), (), ()], [(1, 1, 3, 3), (1, 1, 1, 3), (), ()]],
    ),
]


def _random(value: onnx.ValueInfoProto, shape: tuple[int, ...], rng: Any) -> np.ndarray:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    if dtype == np.uint8:
        return rng.integers(0, 255, shape, "uint8") if shape else np.asarray(rng.integers(9), dtype)
    return rng.uniform(-1, 1, shape).astype(dtype)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_agrees_with_onnx_runtime(case: Case) -> None:
    model = parsed(case.text)
    feeds = []
    for seed, shapes in enumerate(case.shapes):
        rng = np.random.default_rng(seed)
        pairs = zip(model.graph.input, shapes, strict=True)
        feeds.append({value.name: _random(value, shape, rng) for value, shape in pairs})
    check(model, feeds)


def test_a_weight_that_contradicts_the_attribute_is_refused() -> None:
    text = (
        "(float[n,3,h] x, float[m,3,4] k) => (float[n,m,r] y) { y = Conv<kernel_shape=[3]>(x, k) }"
    )
    with pytest.raises(ImportModelError, match=r"kernel_shape .* contradicts its weight's shape"):
        from_onnx(parsed(text))
