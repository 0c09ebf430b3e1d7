"""Broadcasting at run time, one build for all shapes, against ONNX Runtime and NumPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm
from tvm import relax

from tvm_sod2 import build, from_onnx

Shapes = list[tuple[int, ...]]


class Case(NamedTuple):
    """A graph, the shapes of its inputs that it takes, and some that it refuses."""

    text: str
    good: list[Shapes]
    bad: list[Shapes]


PAIRS: list[Shapes] = [
    [(7, 5), (7, 5)],
    [(7, 1), (1, 5)],
    [(1, 1), (13, 17)],
    [(1, 5), (0, 1)],
    [(0, 1), (1, 0)],
    [(3, 0), (1, 1)],
]
CLASHES: list[Shapes] = [[(7, 5), (7, 3)], [(2, 5), (3, 5)], [(0, 5), (3, 5)]]

CASES = {
    "add": Case("(float[a,b] x, float[c,d] y) => (float[e,f] z) { z = Add(x, y) }", PAIRS, CLASHES),
    "a chain": Case(
        """(float[a,b] x, float[c,d] y) => (float[e,f] z) {
            s = Add(x, y)  t = Mul(s, y)  u = Sub(x, t)  z = Max(u, s, y, x)
        }""",
        PAIRS,
        CLASHES,
    ),
    "where": Case(
        """(float[a,b] x, float[c,d] y, float[g,h] w) => (float[e,f] z) {
            p = Greater(x, y)  z = Where(p, w, x)
        }""",
        [[*shapes, shape] for shapes in PAIRS for shape in ((1, 1), shapes[0], shapes[1])],
        [[(7, 5), (7, 5), (7, 3)], [(1, 1), (2, 1), (3, 1)]],
    ),
    "matmul": Case(
        "(float[a,b,m,k] x, float[c,k,n] y) => (float[e,f,m,n] z) { z = MatMul(x, y) }",
        [
            [(2, 3, 5, 7), (3, 7, 11)],
            [(2, 1, 5, 7), (3, 7, 1)],
            [(2, 3, 1, 7), (1, 7, 11)],
            [(1, 0, 5, 7), (1, 7, 11)],
        ],
        [[(2, 3, 5, 7), (2, 7, 11)]],
    ),
    "gemm": Case(
        "(float[m,k] x, float[k,n] y, float[a,b] w) => (float[m,n] z) { z = Gemm(x, y, w) }",
        [[(5, 7), (7, 11), shape] for shape in ((5, 11), (1, 11), (5, 1), (1, 1))],
        [[(5, 7), (7, 11), (4, 11)]],
    ),
    "einsum": Case(
        """(float[a,b,c] x, float[d,e,f] y) => (float[g,h,k] z) {
            z = Einsum<equation = "bij,bjk->bik">(x, y)
        }""",
        [
            [(2, 3, 5), (2, 5, 7)],
            [(2, 3, 5), (1, 5, 7)],
            [(1, 3, 5), (2, 5, 1)],
            [(1, 1, 1), (1, 1, 1)],
        ],
        [[(2, 3, 5), (3, 5, 7)], [(2, 3, 5), (2, 4, 7)]],
    ),
    "slopes": Case(
        "(float[a,b,c] x, float[d,e] y) => (float[a,b,c] z) { z = PRelu(x, y) }",
        [[(2, 3, 5), shape] for shape in ((3, 5), (1, 5), (3, 1), (1, 1))],
        [[(2, 3, 5), (2, 5)]],
    ),
    "norm": Case(
        """(float[a,b] x, float[c] y, float[d] w) => (float[a,b] z) {
            z = LayerNormalization(x, y, w)
        }""",
        [[(3, 7), first, second] for first in ((7,), (1,)) for second in ((7,), (1,))],
        [[(3, 7), (5,), (7,)]],
    ),
    "expand": Case(
        "(float[a,b] x, float[c,d] y) => (float[e,f] z) { s = Shape(y)  z = Expand(x, s) }",
        [*PAIRS, [(7, 5), (1, 1)]],
        CLASHES,
    ),
    "an arm": Case(
        """(float[a,b] x, float[c,d] y) => (float[e,f] z) {
            zero = Constant<value_float = 0.0>()  all = ReduceSum<keepdims = 0>(x)
            p = Less(all, zero)
            z = If(p) <
                then_branch = t () => (float[g,h] r) { r = Add(x, y) },
                else_branch = o () => (float[i,j] s) { s = Mul(y, x) }
            >
        }""",
        PAIRS,
        CLASHES,
    ),
    "a loop": Case(
        """(float[a,b] x, float[c,d] y) => (float[e,f] z) {
            k = Constant<value_int = 3>()  one = Constant<value_int = 1>()  on = Cast<to = 9>(one)
            z = Loop(k, on, x) <body = t (int64 i, bool c, float[g,h] s) => (bool o, float[j,l] r) {
                o = Identity(c)  r = Add(s, y)
            }>
        }""",
        PAIRS,
        CLASHES,
    ),
    "counted by the run": Case(
        """(float[a] x, float[b] y) => (float[c] z) {
            axes = Constant<value_ints = [0]>()
            p = NonZero(x)  q = NonZero(y)  i = Squeeze(p, axes)  j = Squeeze(q, axes)
            k = Add(i, j)  z = Cast<to = 1>(k)
        }""",
        [[(5,), (5,)], [(1,), (7,)], [(0,), (1,)]],
        [[(5,), (3,)]],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_onnx_runtime(name: str) -> None:
    case = CASES[name]
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 18]> g {case.text}')
    session = onnxruntime.InferenceSession(model.SerializeToString())
    main = relax.VirtualMachine(build(from_onnx(model)), tvm.cpu())["main"]
    names = [value.name for value in model.graph.input]
    rng = np.random.default_rng(0)
    for shapes in case.good:
        feeds = [rng.normal(size=shape).astype("float32") for shape in shapes]
        (expected,) = session.run(None, dict(zip(names, feeds, strict=True)))
        found = main(*map(tvm.runtime.tensor, feeds)).numpy()
        assert found.shape == expected.shape, shapes
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=str(shapes))
    for shapes in case.bad:
        feeds = [rng.normal(size=shape).astype("float32") for shape in shapes]
        with pytest.raises(ValueError, match=r"^[^\"]*: dim \d of \w+ is .*, expected .*"):
            main(*map(tvm.runtime.tensor, feeds))


def test_batches_of_no_matrix_and_products_over_nothing_are_numpys() -> None:
    """ONNX Runtime refuses the first, and gives the second a wrong shape."""
    text = CASES["matmul"].text
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 18]> g {text}')
    main = relax.VirtualMachine(build(from_onnx(model)), tvm.cpu())["main"]
    for left, right in [((0, 1, 2, 5), (3, 5, 2)), ((1, 1, 3, 0), (2, 0, 1))]:
        x, y = np.ones(left, "float32"), np.ones(right, "float32")
        found = main(tvm.runtime.tensor(x), tvm.runtime.tensor(y)).numpy()
        np.testing.assert_array_equal(found, x @ y)
