"""Transposes of a product's run-time operands are part of its kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op as R

import tvm_sod2
from tests.passes.rewriting import rng
from tests.passes.test_fuse_attention import Input, network
from tvm_sod2.passes.fusion_plan import plan_groups

Dims = tuple[Any, ...]


def product(turned: int) -> Callable[..., Any]:
    def build(emit: Any, *given: Any) -> Any:
        pair = list(given)
        rank = pair[turned].ty.ndim
        axes = [*range(rank - 2), rank - 1, rank - 2]
        pair[turned] = emit(R.permute_dims(pair[turned], axes))
        return emit(R.nn.relu(emit(R.matmul(*pair))))

    return build


def groups(mod: tvm.IRModule) -> list[list[str]]:
    """The operators of each group."""
    block = mod["main"].body.blocks[0]
    names = [
        getattr(getattr(binding.value, "op", None), "name", "").removeprefix("relax.")
        for binding in block.bindings
    ]
    return [[names[i] for i in group.members] for group in plan_groups(block)]


# The operand that is transposed, and the dims of both as they are given.
TURNED: dict[str, tuple[int, Dims, Dims]] = {
    "a row": (1, (1, "s"), ("t", "s")),
    "a column": (0, ("s", "t"), ("s", 1)),
    "any rows": (1, ("b", "s"), ("t", "s")),
    "rows of batches": (1, ("b", 1, "s"), ("b", "t", "s")),
    "one matrix for all rows": (1, ("b", 3, 1, 40), ("t", 40)),
    "columns of batches": (0, ("b", "s", 5), ("b", "s", 1)),
    "batches of one": (0, ("b", "s", 5), (1, "s", "t")),
    "dims of one": (1, (1, 1), (1, 1)),
}


@pytest.mark.parametrize("name", TURNED)
def test_the_kernel_transposes(name: str) -> None:
    turned, a, b = TURNED[name]
    mod = network(product(turned), {"a": Input(a), "b": Input(b)})
    assert groups(mod) == [["permute_dims", "matmul", "nn.relu"]]
    run = relax.VirtualMachine(tvm_sod2.build(mod), tvm.cpu())["main"]
    for sizes in ({"b": 2, "s": 7, "t": 5}, {"b": 1, "s": 130, "t": 33}, {"b": 3, "s": 0, "t": 1}):
        arrays = [
            rng.normal(size=[sizes.get(dim, dim) for dim in dims]).astype("float32")
            for dims in (a, b)
        ]
        pair = [x.swapaxes(-1, -2) if i == turned else x for i, x in enumerate(arrays)]
        expected = np.maximum(pair[0].astype("float64") @ pair[1], 0)
        found = run(*map(tvm.runtime.tensor, arrays)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_both_operands_may_be_one_matrix() -> None:
    """b^T times itself, and times what it is the transpose of."""

    def gram(emit: Any, x: Any) -> Any:
        return emit(R.matmul(emit(R.permute_dims(x)), x))

    def square(emit: Any, x: Any) -> Any:
        turned = emit(R.permute_dims(x))
        return emit(R.matmul(turned, turned))

    for build, dims in ((gram, ("s", "t")), (square, ("s", "s"))):
        mod = network(build, {"x": Input(dims)})
        assert groups(mod) == [["permute_dims", "matmul"]]
        run = relax.VirtualMachine(tvm_sod2.build(mod), tvm.cpu())["main"]
        x = rng.normal(size=[{"s": 9, "t": 21}[dim] for dim in dims]).astype("float32")
        expected = x.T.astype("float64") @ (x if build is gram else x.T)
        found = run(tvm.runtime.tensor(x)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def constant(emit: Any, a: Any) -> Any:
    """Kernels of constant weights read rows."""
    weights = relax.const(np.ones((3, 4), "float32"))
    return emit(R.matmul(emit(R.permute_dims(a)), weights))


def twice(emit: Any, a: Any, b: Any) -> Any:
    """The transpose serves something else, too."""
    turned = emit(R.permute_dims(b))
    return emit(R.matmul(a, turned)), emit(R.nn.relu(turned))


def batch_axes(emit: Any, a: Any, b: Any) -> Any:
    """Other axes change their order."""
    return emit(R.matmul(a, emit(R.permute_dims(b, [1, 0, 2]))))


APART: dict[str, tuple[Callable[..., Any], list[Input]]] = {
    "constant weights": (constant, [Input((3, "s"))]),
    "another reader": (twice, [Input(("b", "s")), Input(("t", "s"))]),
    "batch axes": (batch_axes, [Input(("b", 2, "s")), Input(("s", "b", "t"))]),
    "half precision": (product(1), [Input((1, "s"), "float16"), Input(("t", "s"), "float16")]),
}


@pytest.mark.parametrize("name", APART)
def test_what_stays_a_kernel_of_its_own(name: str) -> None:
    build, inputs = APART[name]
    mod = network(build, {f"x{i}": given for i, given in enumerate(inputs)})
    assert ["permute_dims"] in groups(mod)
